//! Ctrl-C and SIGTERM while the program waits for a broker that never answers.

use std::net::TcpListener;
use std::process::Command;

use crate::environment::TestEnvironment;

#[test]
fn a_signal_stops_cleanly_and_says_so() {
    for signal in ["-INT", "-TERM"] {
        let environment = TestEnvironment::new();
        environment.write("backup/orders-0-0", "azA=,djA=,0,1600000000000\n");
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = broker.local_addr().unwrap().to_string();
        let child = environment.start(&["-t", "orders", "--from", "backup", "--bootstrap-server", &address]);
        // Whoever connects has planned this far; what it sends is never answered.
        let connection = broker.accept().unwrap();
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        drop(connection);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}: {talk}");
        assert!(
            talk.contains("stopping cleanly") && talk.contains("before anything was written"),
            "{talk}"
        );
    }
}
