//! What a provider's refusal means: HTTP status and the provider's own code -> [`StorageErrorKind`].
//!
//! S3, GCS (XML API) and Azure answer errors alike: a status and an XML body `<Error><Code>…</Code><Message>…`.
//! Sources: S3 "Error responses", GCS "XML API error responses", Azure "Blob service error codes".

use std::time::Duration;

use quick_xml::events::Event;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::StorageErrorKind;

/// A failed try, before it is known whether it was the last one.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: StorageErrorKind,
    pub(super) message: String,
    pub(super) retryable: bool,
    /// The wait that the server asked for.
    pub(super) server_wish: Option<Duration>,
    /// True where no connection came about at all.
    pub(super) unconnected: bool,
}

impl Failure {
    /// A failure of the network or of the server's answer, worth another try.
    pub(super) fn passing(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retryable: true,
            server_wish: None,
            unconnected: false,
        }
    }

    /// A failure that another try would only repeat.
    pub(super) fn lasting(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self {
            retryable: false,
            ..Self::passing(kind, message)
        }
    }
}

/// Longest text of a provider that goes into a message.
const LONGEST_MESSAGE: usize = 400;

/// Judges an answer that is no success; `object` is false for a listing.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], object: bool) -> Failure {
    let (code, message) = code_and_message(body);
    // Answers to HEAD have no body; Azure puts the code into a header too.
    let code = code.or_else(|| headers.get("x-ms-error-code")?.to_str().ok().map(str::to_owned));
    let kind = kind(status, code.as_deref(), object);
    let retryable = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
        || matches!(
            code.as_deref(),
            Some("RequestTimeout" | "SlowDown" | "InternalError" | "ServerBusy" | "OperationTimedOut")
        );
    let mut text = match (&code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.clone(),
        (None, Some(message)) => message,
        (None, None) => "no further words".to_owned(),
    };
    text = format!("{} ({status})", shorten(&text));
    let server_wish = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    Failure {
        kind,
        message: text,
        retryable,
        server_wish,
        unconnected: false,
    }
}

fn kind(status: StatusCode, code: Option<&str>, object: bool) -> StorageErrorKind {
    match code {
        Some("NoSuchKey" | "BlobNotFound" | "NoSuchVersion") => return StorageErrorKind::NotFound,
        Some("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled") => {
            return StorageErrorKind::NoSuchBucket;
        }
        Some(
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed"
            | "AuthenticationFailed"
            | "NoAuthenticationInformation"
            | "AuthenticationRequired"
            | "InvalidAuthenticationInfo"
            | "MissingSecurityHeader"
            | "InvalidSecurity"
            | "InvalidClientTokenId",
        ) => return StorageErrorKind::Unauthenticated,
        Some("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InsufficientAccountPermissions") => {
            return StorageErrorKind::PermissionDenied;
        }
        Some("PreconditionFailed" | "ConditionNotMet") => return StorageErrorKind::Changed,
        _ => {}
    }
    match status {
        StatusCode::UNAUTHORIZED => StorageErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => StorageErrorKind::PermissionDenied,
        StatusCode::PRECONDITION_FAILED => StorageErrorKind::Changed,
        StatusCode::NOT_FOUND if object => StorageErrorKind::NotFound,
        StatusCode::NOT_FOUND => StorageErrorKind::NoSuchBucket,
        _ => StorageErrorKind::Other,
    }
}

/// The texts of the first `Code` and `Message` elements; where the body is no XML, its beginning.
fn code_and_message(body: &[u8]) -> (Option<String>, Option<String>) {
    let mut reader = quick_xml::Reader::from_reader(body);
    let (mut code, mut message) = (None, None);
    let mut inside: Option<bool> = None;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                inside = match start.local_name().as_ref() {
                    b"Code" if code.is_none() => Some(true),
                    b"Message" if message.is_none() => Some(false),
                    _ => None,
                };
            }
            Ok(Event::Text(text)) => {
                let target = match inside {
                    Some(true) => &mut code,
                    Some(false) => &mut message,
                    None => continue,
                };
                if let Ok(text) = text.decode() {
                    target.get_or_insert_with(String::new).push_str(&text);
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                let target = match inside {
                    Some(true) => &mut code,
                    Some(false) => &mut message,
                    None => continue,
                };
                if let Some(text) = super::listing::resolve(&reference) {
                    target.get_or_insert_with(String::new).push_str(&text);
                }
            }
            Ok(Event::End(_)) => inside = None,
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    if code.is_none() && message.is_none() {
        let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST_MESSAGE)]);
        let text = text.trim();
        if !text.is_empty() {
            message = Some(text.to_owned());
        }
    }
    (code, message)
}

/// One line, of bounded length, without the query of any URL (it may hold a signature).
pub(super) fn shorten(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        match word.split_once('?') {
            Some((address, _)) if address.contains("://") => line.push_str(address),
            _ => line.push_str(word),
        }
        if line.len() > LONGEST_MESSAGE {
            let end = line.floor_char_boundary(LONGEST_MESSAGE);
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str, object: bool) -> Failure {
        judge(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
            object,
        )
    }

    #[test]
    fn providers_words_become_kinds() {
        use StorageErrorKind::*;
        let error = |code: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m &amp; n</Message></Error>")
        };
        for (status, code, object, kind, retryable) in [
            (404, "NoSuchKey", true, NotFound, false),
            (404, "BlobNotFound", true, NotFound, false),
            (404, "NoSuchBucket", true, NoSuchBucket, false),
            (404, "ContainerNotFound", false, NoSuchBucket, false),
            (403, "AccessDenied", true, PermissionDenied, false),
            (
                403,
                "AuthorizationPermissionMismatch",
                true,
                PermissionDenied,
                false,
            ),
            (403, "InvalidAccessKeyId", true, Unauthenticated, false),
            (403, "SignatureDoesNotMatch", true, Unauthenticated, false),
            (403, "AuthenticationFailed", true, Unauthenticated, false),
            (400, "ExpiredToken", true, Unauthenticated, false),
            (412, "PreconditionFailed", true, Changed, false),
            (412, "ConditionNotMet", true, Changed, false),
            (503, "SlowDown", true, Other, true),
            (500, "InternalError", false, Other, true),
            (400, "RequestTimeout", true, Other, true),
            (400, "InvalidArgument", true, Other, false),
        ] {
            let failure = judged(status, &error(code), object);
            assert_eq!((failure.kind, failure.retryable), (kind, retryable), "{code}");
            assert!(
                failure.message.starts_with(&format!("{code}: m & n ({status} ")),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn without_words_the_status_decides() {
        assert_eq!(judged(404, "", true).kind, StorageErrorKind::NotFound);
        assert_eq!(judged(404, "", false).kind, StorageErrorKind::NoSuchBucket);
        assert_eq!(judged(401, "", true).kind, StorageErrorKind::Unauthenticated);
        assert_eq!(
            judged(403, "<html>proxy says no", true).kind,
            StorageErrorKind::PermissionDenied
        );
        assert!(judged(502, "bad gateway", true).retryable);
        assert!(judged(502, "bad gateway", true).message.contains("bad gateway"));
    }

    #[test]
    fn messages_are_short_and_hold_no_query() {
        let text = shorten(&format!(
            "see https://host/x?sig=SECRET&x=1 {}",
            "y ".repeat(1_000)
        ));
        assert!(!text.contains("SECRET"), "{text}");
        assert!(text.starts_with("see https://host/x y y"));
        assert!(text.len() < LONGEST_MESSAGE + 10);
    }
}
