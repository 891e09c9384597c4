# Each process is killed, and stopped so that nothing but a watchdog can tell, while operations are in flight.
echo 100 >$P/total
proxy="mintwarden-etcd-proxy@127.0.0.1:2379.service"
worker() { pgrep -P "$(main_pid mintwarden-seal)"; }
# ended PID: it is another process by now, or none.
ended() { fails kill -0 "$1"; }
kills() { # SIGNAL PID
	kill -"$1" "$2" && until_true ended "$2"
}
survives "the seal's worker is killed" kills KILL "$(worker)"
survives "the seal's worker is stopped" kills STOP "$(worker)"
survives "the seal is killed" kills KILL "$(main_pid mintwarden-seal)"
survives "the seal is stopped" kills STOP "$(main_pid mintwarden-seal)"
check "a watchdog said so" said mintwarden-seal "Watchdog timeout"
survives "the API is killed" kills KILL "$(main_pid mintwarden)"
survives "the API is stopped" kills STOP "$(main_pid mintwarden)"
check "a watchdog said so, too" said mintwarden "Watchdog timeout"
survives "the way to etcd is killed" kills KILL "$(main_pid $proxy)"
# systemd's own forwarder has no watchdog: a person restarts it, as the guide's MintwardenNoAuthor says.
stopped_then_restarted() { kill -STOP "$(main_pid $proxy)" && until_true doubted && systemctl restart $proxy; }
doubted() { fails curl -sf http://127.0.0.1:9464/readyz; }
survives "the way to etcd is stopped and restarted" stopped_then_restarted
survives "all is killed at once" eval 'all=$(worker; main_pid mintwarden-seal; main_pid mintwarden; main_pid $proxy); kill -KILL $all'
survives "all is restarted in order" systemctl restart mintwarden-seal mintwarden
check "a stop that drains is no failure" fails said mintwarden "Failed with result 'timeout'"
