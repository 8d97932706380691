//! A private certificate authority, a server certificate and a client certificate, made anew for every broker.
//!
//! All of it is PEM (PKCS#8 keys): brokers read it as `ssl.keystore.type=PEM`, clients as the files that a managed
//! Kafka service hands out (`ca.crt`, `service.crt`, `service.key`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// PEM files of one private authority, in one folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes an authority, a server certificate for `names` (host names or addresses) and a client certificate with
    /// the common name `client`, and writes them to `folder`.
    pub fn generate(folder: &Path, names: &[String]) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "testkit authority");
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let made = Self {
            folder: folder.to_path_buf(),
        };
        fs::write(made.ca(), &authority_pem)?;

        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(names.to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "broker");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Brokers are also each other's clients.
        server.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let server_pem = server.signed_by(&server_key, &issuer)?.pem();
        fs::write(made.server_store(), server_key.serialize_pem() + &server_pem)?;

        let client_key = KeyPair::generate()?;
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "client");
        client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        fs::write(
            made.client_certificate(),
            client.signed_by(&client_key, &issuer)?.pem(),
        )?;
        fs::write(made.client_key(), client_key.serialize_pem())?;
        Ok(made)
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The client's certificate, subject `CN=client`.
    pub fn client_certificate(&self) -> PathBuf {
        self.folder.join("service.crt")
    }

    /// The client's private key, PKCS#8, not encrypted.
    pub fn client_key(&self) -> PathBuf {
        self.folder.join("service.key")
    }

    /// The server's private key and certificate in one file, as brokers take it.
    pub(crate) fn server_store(&self) -> PathBuf {
        self.folder.join("server.pem")
    }
}
