package operation

// Unpacked is the text of an operation's value in the store; rest is the end of its key.
var Unpacked = unpacked
