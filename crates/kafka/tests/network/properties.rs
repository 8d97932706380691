//! The Java clients' properties, as people have them in their files.

use kafka::config::properties::Properties;
use kafka::config::{ClientConfig, Identity, Parsed, Sasl, ScramHash, StoreFormat, Trust};
use kafka::connection::Connector;
use kafka::error::KafkaError;
use rstest::rstest;

fn parse(text: &str) -> Result<Parsed, KafkaError> {
    ClientConfig::from_properties(&Properties::parse(text.as_bytes()).unwrap())
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

#[test]
fn nothing_is_plaintext_with_the_java_clients_defaults() {
    let Parsed { config, unrecognised } = parse("").unwrap();
    assert!(config.bootstrap.is_empty() && config.security.tls.is_none() && config.security.sasl.is_none());
    assert_eq!(config.request_timeout.as_secs(), 30);
    assert_eq!(config.api_timeout.as_secs(), 60);
    assert!(unrecognised.is_empty());
}

#[test]
fn unknown_keys_are_listed_and_idle_ones_are_not() {
    let parsed = parse(
        "bootstrap.servers=a:1,b:2\nacks=all\nzzz=1\nssl.truststore.password=x\nsasl.mechanism=PLAIN\n\
         request.timeout.ms=5000\n",
    )
    .unwrap();
    assert_eq!(parsed.unrecognised, ["acks", "zzz"]);
    assert_eq!(parsed.config.bootstrap.len(), 2);
    assert_eq!(parsed.config.request_timeout.as_secs(), 5);
}

#[test]
fn tls_with_java_stores() {
    let parsed = parse(
        "security.protocol=ssl\nssl.truststore.location=/t.jks\nssl.truststore.password=t\n\
         ssl.keystore.location=/k.p12\nssl.keystore.type=PKCS12\nssl.keystore.password=k\n\
         ssl.endpoint.identification.algorithm=\n",
    )
    .unwrap();
    let tls = parsed.config.security.tls.unwrap();
    assert!(!tls.verify_host_name);
    let Trust::Store(store) = tls.trust else {
        panic!("{:?}", tls.trust)
    };
    assert_eq!(store.format, StoreFormat::Binary);
    assert!(matches!(tls.identity, Some(Identity::Store { .. })));
}

#[test]
fn tls_without_a_trust_store_takes_the_systems() {
    let tls = parse("security.protocol=SSL")
        .unwrap()
        .config
        .security
        .tls
        .unwrap();
    assert!(matches!(tls.trust, Trust::System) && tls.identity.is_none() && tls.verify_host_name);
}

#[test]
fn sasl_users() {
    let sasl = |mechanism: &str, module: &str| {
        let parsed = parse(&format!(
            "security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\n\
             sasl.jaas.config={module} required username=\"al\" password=\"geheim\";"
        ));
        parsed.unwrap().config.security.sasl.unwrap()
    };
    assert!(matches!(sasl("PLAIN", PLAIN), Sasl::Plain { username, .. } if username == "al"));
    assert!(matches!(
        sasl("SCRAM-SHA-256", SCRAM),
        Sasl::Scram {
            hash: ScramHash::Sha256,
            ..
        }
    ));
    assert!(matches!(
        sasl("SCRAM-SHA-512", SCRAM),
        Sasl::Scram {
            hash: ScramHash::Sha512,
            ..
        }
    ));
}

#[test]
fn oauth_in_both_forms() {
    let old = parse(&format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.oauthbearer.token.endpoint.url=https://idp.example/token\n\
         sasl.login.callback.handler.class=org.apache.kafka.x.OAuthBearerLoginCallbackHandler\n\
         sasl.jaas.config={OAUTH} required clientId=\"me\" clientSecret=\"geheim\" scope=\"kafka\" \
         extension_tenant=\"t1\";"
    ))
    .unwrap();
    let new = parse(&format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.oauthbearer.token.endpoint.url=https://idp.example/token\n\
         sasl.oauthbearer.client.credentials.client.id=me\nsasl.oauthbearer.client.credentials.client.secret=geheim\n\
         sasl.oauthbearer.scope=kafka\nsasl.jaas.config={OAUTH} required extension_tenant=\"t1\";"
    ))
    .unwrap();
    for parsed in [old, new] {
        assert!(parsed.unrecognised.is_empty(), "{:?}", parsed.unrecognised);
        let Some(Sasl::OAuthBearer(settings)) = parsed.config.security.sasl else {
            panic!()
        };
        assert_eq!(settings.client_id, "me");
        assert_eq!(settings.scope.as_deref(), Some("kafka"));
        assert_eq!(settings.extensions, [("tenant".to_owned(), "t1".to_owned())]);
    }
}

#[rstest]
#[case("security.protocol=TLS", "security.protocol", "none of PLAINTEXT")]
#[case("bootstrap.servers=a", "bootstrap.servers", "no port")]
#[case(
    "request.timeout.ms=soon",
    "request.timeout.ms",
    "not a number of milliseconds"
)]
#[case("request.timeout.ms=-1", "request.timeout.ms", "not a number of milliseconds")]
#[case(
    "security.protocol=SSL\nssl.truststore.type=BKS",
    "ssl.truststore.type",
    "none of PEM"
)]
#[case(
    "security.protocol=SSL\nssl.endpoint.identification.algorithm=ldaps",
    "ssl.endpoint.identification.algorithm",
    "neither"
)]
#[case(
    "security.protocol=SSL\nssl.truststore.certificates=x",
    "ssl.truststore.certificates",
    "needs ssl.truststore.type=PEM"
)]
#[case(
    "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.key=x",
    "ssl.keystore.certificate.chain",
    "missing"
)]
#[case(
    "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.certificate.chain=x",
    "ssl.keystore.key",
    "missing"
)]
#[case("security.protocol=SASL_SSL", "sasl.mechanism", "GSSAPI")]
#[case(
    "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN",
    "sasl.jaas.config",
    "missing"
)]
#[case(
    "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=a.ScramLoginModule required username=\"geheim\" password=\"geheim\";",
    "sasl.jaas.config",
    "does not go with"
)]
#[case(
    "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=a.PlainLoginModule required username=\"geheim\";",
    "sasl.jaas.config",
    "password is missing"
)]
#[case(
    "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config=a.OAuthBearerLoginModule required;",
    "sasl.oauthbearer.token.endpoint.url",
    "missing"
)]
fn a_bad_value_is_named(#[case] text: &str, #[case] key: &str, #[case] reason: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{key}: ")), "{error}");
    assert!(error.contains(reason), "{error}");
    assert!(!error.contains("geheim"), "{error}");
}

#[test]
fn secrets_do_not_show() {
    let texts = [
        format!(
            "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.certificates=geheim\n\
             ssl.truststore.password=geheim\nssl.keystore.location=/k\nssl.keystore.password=geheim\n\
             ssl.key.password=geheim\nsasl.mechanism=PLAIN\n\
             sasl.jaas.config={PLAIN} required username=\"al\" password=\"geheim\";"
        ),
        format!(
            "security.protocol=SASL_SSL\nssl.keystore.type=PEM\nssl.keystore.key=geheim\n\
             ssl.keystore.certificate.chain=geheim\nsasl.mechanism=SCRAM-SHA-256\n\
             sasl.jaas.config={SCRAM} required username=\"al\" password=\"geheim\";"
        ),
        format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
             sasl.oauthbearer.token.endpoint.url=http://127.0.0.1:1/\n\
             sasl.jaas.config={OAUTH} required clientId=\"al\" clientSecret=\"geheim\";"
        ),
    ];
    for text in texts {
        let parsed = parse(&text).unwrap();
        assert!(!format!("{parsed:?}").contains("geheim"), "{parsed:?}");
        match Connector::new(parsed.config) {
            Ok(connector) => assert!(!format!("{connector:?}").contains("geheim")),
            Err(error) => assert!(!format!("{error:?}{error}").contains("geheim"), "{error}"),
        }
    }
}
