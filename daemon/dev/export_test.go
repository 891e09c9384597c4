package dev

// ListenFree is listenFree for tests of the whole appliance.
var ListenFree = listenFree

// EVMChainID is evmChainID.
const EVMChainID = evmChainID
