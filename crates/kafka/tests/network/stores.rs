//! Certificates and keys in every format that Java's clients take, written by the tools that people write them with.

use std::path::{Path, PathBuf};
use std::process::Command;

use kafka::config::ClientConfig;
use kafka::config::properties::Properties;
use kafka::connection::Connector;
use kafka::error::KafkaError;
use rstest::rstest;
use tempfile::TempDir;

use crate::tls::Authority;

/// Loads what the properties name; nothing is connected to.
fn load(properties: &[(&str, &str)]) -> Result<(), KafkaError> {
    let mut all: Properties = properties.iter().copied().collect();
    all.set("security.protocol", "SSL");
    Connector::new(ClientConfig::from_properties(&all)?.config).map(drop)
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder with `ca.pem`, `own.pem`, `own.key`, `other.key` and `both.pem`.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new("store test");
    let own = authority.sign(&["client"], false);
    let other = authority.sign(&["other"], false);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &authority.pem);
    write("own.pem", &own.pem);
    write("own.key", &own.key_pem);
    write("other.key", &other.key_pem);
    write("both.pem", &[own.key_pem.as_str(), &own.pem].concat());
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// A store of this type made by Java's keytool, with a key (`name.type`) and one with a trusted certificate (`trust.type`).
fn keytool(folder: &TempDir, kind: &str) -> (PathBuf, PathBuf) {
    let (key, trust) = (
        path(folder, &format!("key.{kind}")),
        path(folder, &format!("trust.{kind}")),
    );
    run(
        "keytool",
        &[
            "-genkeypair",
            "-alias",
            "me",
            "-keyalg",
            "EC",
            "-dname",
            "CN=client",
            "-keystore",
            &key,
            "-storetype",
            kind,
            "-storepass",
            "store-pw",
            "-keypass",
            if kind == "JKS" { "key-pw" } else { "store-pw" },
            "-validity",
            "1000",
        ],
    );
    run(
        "keytool",
        &[
            "-importcert",
            "-noprompt",
            "-alias",
            "ca",
            "-file",
            &path(folder, "ca.pem"),
            "-keystore",
            &trust,
            "-storetype",
            kind,
            "-storepass",
            "store-pw",
        ],
    );
    (key.into(), trust.into())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[rstest]
#[case("JKS", "key-pw")]
#[case("PKCS12", "store-pw")]
fn java_stores(#[case] kind: &str, #[case] key_password: &str) {
    let folder = folder();
    let (key, trust) = keytool(&folder, kind);
    // Java takes either format under either name, and so do its users' files.
    for said in ["JKS", "PKCS12"] {
        load(&[
            ("ssl.truststore.type", said),
            ("ssl.truststore.location", text(&trust)),
            ("ssl.truststore.password", "store-pw"),
            ("ssl.keystore.type", said),
            ("ssl.keystore.location", text(&key)),
            ("ssl.keystore.password", "store-pw"),
            ("ssl.key.password", key_password),
        ])
        .unwrap();
    }
    let error = load(&[
        ("ssl.truststore.location", text(&trust)),
        ("ssl.truststore.password", "wrong"),
    ])
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with(&format!(
            "ssl.truststore.location: {} does not open",
            text(&trust)
        )),
        "{error}"
    );
    let error = load(&[
        ("ssl.keystore.location", text(&key)),
        ("ssl.keystore.password", "wrong"),
    ])
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("ssl.keystore.location: ") && error.contains("does not open"),
        "{error}"
    );
    // The one in the place of the other.
    let error = load(&[
        ("ssl.truststore.location", text(&key)),
        ("ssl.truststore.password", "store-pw"),
    ])
    .unwrap_err();
    assert!(
        error.to_string().contains("holds no trusted certificate"),
        "{error}"
    );
    let error = load(&[
        ("ssl.keystore.location", text(&trust)),
        ("ssl.keystore.password", "store-pw"),
    ])
    .unwrap_err();
    assert!(error.to_string().contains("holds no private key"), "{error}");
}

#[test]
fn a_jks_key_with_a_password_of_its_own_needs_it() {
    let folder = folder();
    let (key, _) = keytool(&folder, "JKS");
    let error = load(&[
        ("ssl.keystore.location", text(&key)),
        ("ssl.keystore.password", "store-pw"),
    ])
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the password does not open (ssl.key.password)"),
        "{error}"
    );
}

#[test]
fn stores_cut_off_anywhere_are_refused() {
    let folder = folder();
    for kind in ["JKS", "PKCS12"] {
        let (key, trust) = keytool(&folder, kind);
        for (store, property) in [(key, "ssl.keystore"), (trust, "ssl.truststore")] {
            let whole = std::fs::read(&store).unwrap();
            let (location, password) = (format!("{property}.location"), format!("{property}.password"));
            for length in (0..whole.len()).step_by(29) {
                std::fs::write(&store, &whole[..length]).unwrap();
                for with_password in [true, false] {
                    let mut properties = vec![(location.as_str(), text(&store))];
                    if with_password {
                        properties.push((&password, "store-pw"));
                    }
                    let error = load(&properties).unwrap_err();
                    assert!(matches!(error, KafkaError::Config { .. }), "{error:?}");
                }
            }
        }
    }
}

#[rstest]
#[case("aes-256-cbc")]
#[case("aes-128-cbc")]
#[case("des3")]
fn encrypted_pem_keys(#[case] cipher: &str) {
    let folder = folder();
    let encrypted = path(&folder, "encrypted.key");
    run(
        "openssl",
        &[
            "pkcs8",
            "-topk8",
            "-in",
            &path(&folder, "own.key"),
            "-out",
            &encrypted,
            "-v2",
            cipher,
            "-passout",
            "pass:key-pw",
        ],
    );
    let both = path(&folder, "encrypted-both.pem");
    let joined =
        [encrypted.clone(), path(&folder, "own.pem")].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, joined.concat()).unwrap();
    let with = |password: Option<&str>| {
        let mut properties = vec![
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", both.as_str()),
        ];
        properties.extend(password.map(|password| ("ssl.key.password", password)));
        load(&properties)
    };
    with(Some("key-pw")).unwrap();
    let error = with(Some("geheim")).unwrap_err().to_string();
    assert!(
        error.contains("the password does not open") && !error.contains("geheim"),
        "{error}"
    );
    let error = with(None).unwrap_err().to_string();
    assert!(
        error.contains("no password is given (ssl.key.password)"),
        "{error}"
    );
}

#[test]
fn openssl_pkcs12_old_and_new() {
    let folder = folder();
    for legacy in [false, true] {
        let store = path(&folder, "openssl.p12");
        let (key, certificate) = (path(&folder, "own.key"), path(&folder, "own.pem"));
        let mut arguments = vec![
            "pkcs12",
            "-export",
            "-inkey",
            &key,
            "-in",
            &certificate,
            "-out",
            &store,
            "-passout",
            "pass:store-pw",
        ];
        if legacy {
            // What OpenSSL 1 and Java 8 write.
            arguments.extend([
                "-certpbe",
                "PBE-SHA1-3DES",
                "-keypbe",
                "PBE-SHA1-3DES",
                "-macalg",
                "sha1",
            ]);
        }
        run("openssl", &arguments);
        load(&[
            ("ssl.keystore.location", &store),
            ("ssl.keystore.password", "store-pw"),
        ])
        .unwrap();
    }
}

#[test]
fn pem_in_files_and_in_place() {
    let folder = folder();
    let read = |name: &str| std::fs::read_to_string(path(&folder, name)).unwrap();
    let (key, chain, ca) = (read("own.key"), read("own.pem"), read("ca.pem"));
    let one_line = |text: &str| text.replace('\n', " ");
    load(&[
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", &path(&folder, "ca.pem")),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &path(&folder, "both.pem")),
    ])
    .unwrap();
    for in_place in [
        &|text: &str| text.to_owned() as String,
        &one_line as &dyn Fn(&str) -> String,
    ] {
        load(&[
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.certificates", &in_place(&ca)),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.key", &in_place(&key)),
            ("ssl.keystore.certificate.chain", &in_place(&chain)),
        ])
        .unwrap();
    }
    let error = load(&[
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.key", &read("other.key")),
        ("ssl.keystore.certificate.chain", &chain),
    ])
    .unwrap_err();
    assert!(
        error.to_string().contains("does not belong to the certificate"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        path(&folder, name)
    };
    let pem = path(&folder, "ca.pem");
    let missing = path(&folder, "missing");
    let (empty, text, binary, jceks) = (
        file("empty", b""),
        file("text", b"hello"),
        file("binary", &[0xff, 0, 1]),
        file("jceks", &[0xce, 0xce, 0xce, 0xce, 0, 0]),
    );
    for (path, kind, reason) in [
        (&missing, "PEM", "cannot be read: No such file"),
        (&missing, "JKS", "cannot be read: No such file"),
        (&empty, "PEM", "holds no PEM certificate"),
        (&empty, "JKS", "neither a PKCS#12 nor a JKS store"),
        (&text, "PEM", "holds no PEM certificate"),
        (&binary, "PEM", "is not PEM"),
        (&pem, "JKS", "is PEM; set ssl.truststore.type to PEM"),
        (&jceks, "JKS", "JCEKS"),
    ] {
        let error = load(&[("ssl.truststore.type", kind), ("ssl.truststore.location", path)]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("ssl.truststore.location: {path} ")),
            "{error}"
        );
        assert!(error.contains(reason), "{error}");
    }
}
