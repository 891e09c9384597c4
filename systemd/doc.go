// Package systemd holds how the appliance is installed: units, sysusers.d and
// tmpfiles.d, default configuration, and the Debian package; there is no Go in
// it but tests and the list of what is linked (internal/sbom).
//
// # What it promises
//
// Each unit is as tight as its process bears: “systemd-analyze security” gives
// the seal 0.2 at most and the API 1.0, and tests hold that. The default
// configuration is what the programs take. Two builds of the package from one
// commit are the same bytes. Configuration is never overwritten, and state goes
// on a purge alone.
//
// A Debian is booted with all of that (TestBooted): the ceremony of an instance,
// mints, each process killed and stopped, an upgrade and a downgrade by one
// version, a reboot, each with operations in flight, of which none is lost and none
// is done twice. testdata/boot holds what is done there, part by part, as an
// operator would type it.
//
// # What it does not
//
// Nothing is enabled or started by installing: an appliance needs a ceremony
// first. Users stay after a purge, as Debian has it.
package systemd
