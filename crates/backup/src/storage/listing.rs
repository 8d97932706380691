//! One page of a listing, from the provider's XML.
//!
//! S3 and the XML API of GCS share `ListBucketResult` (ListObjectsV2); Azure has `EnumerationResults`. The keys are
//! taken exactly as they stand: no trimming of blanks, no decoding beyond XML's own.

use quick_xml::events::{BytesRef, Event};

use super::{ObjectMeta, ObjectVersion};

/// What one request of a listing gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<ObjectMeta>,
    /// The token that asks for the page after this one; none at the end.
    pub(super) next: Option<String>,
}

/// Names of the elements that differ between the providers.
struct Words {
    root: &'static str,
    object: &'static str,
    key: &'static str,
    size: &'static str,
    version: &'static str,
    next: &'static str,
    modified: fn(&str) -> Option<i64>,
}

/// Reads a `ListBucketResult`.
///
/// # Errors
///
/// Says what is wrong with the page.
pub(super) fn parse_s3(body: &[u8]) -> Result<Page, String> {
    parse(
        body,
        &Words {
            root: "ListBucketResult",
            object: "Contents",
            key: "Key",
            size: "Size",
            version: "ETag",
            next: "NextContinuationToken",
            modified: milliseconds_iso,
        },
    )
}

/// Reads an `EnumerationResults`. Directories of a hierarchical namespace are left out: they are no objects.
///
/// # Errors
///
/// Says what is wrong with the page.
pub(super) fn parse_azure(body: &[u8]) -> Result<Page, String> {
    parse(
        body,
        &Words {
            root: "EnumerationResults",
            object: "Blob",
            key: "Name",
            size: "Content-Length",
            version: "Etag",
            next: "NextMarker",
            modified: milliseconds_http,
        },
    )
}

/// Milliseconds since 1970 of `2026-11-22T10:00:00.000Z`.
fn milliseconds_iso(text: &str) -> Option<i64> {
    Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond())
}

/// Milliseconds since 1970 of `Sun, 22 Nov 2026 10:00:00 GMT`.
pub(super) fn milliseconds_http(text: &str) -> Option<i64> {
    Some(
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()?
            .as_millisecond(),
    )
}

/// The text that `&name;` or `&#number;` stands for.
pub(super) fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Some(character.to_string());
    }
    let name = reference.decode().ok()?;
    quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned)
}

fn parse(body: &[u8], words: &Words) -> Result<Page, String> {
    let mut reader = quick_xml::Reader::from_reader(body);
    let mut page = Page::default();
    let mut object = Draft::default();
    let (mut inside_object, mut root_seen, mut root_ended, mut truncated) = (false, false, false, false);
    let mut text = String::new();
    loop {
        match reader
            .read_event()
            .map_err(|error| format!("the listing is no valid XML: {error}"))?
        {
            Event::Start(start) => {
                text.clear();
                let name = start.local_name();
                if !root_seen {
                    if name.as_ref() != words.root.as_bytes() {
                        return Err(format!(
                            "the answer is no listing: it begins with <{}>",
                            name.as_ref().escape_ascii()
                        ));
                    }
                    root_seen = true;
                } else if name.as_ref() == words.object.as_bytes() {
                    inside_object = true;
                    object = Draft::default();
                } else if inside_object && name.as_ref() == words.key.as_bytes() {
                    let encoded = start.attributes().flatten().any(|attribute| {
                        attribute.key.as_ref() == b"Encoded" && attribute.value.as_ref() == b"true"
                    });
                    object.key_is_encoded = encoded;
                }
            }
            Event::Text(part) => {
                text.push_str(
                    &part
                        .decode()
                        .map_err(|error| format!("the listing is not UTF-8: {error}"))?,
                );
            }
            Event::CData(part) => {
                text.push_str(
                    &part
                        .decode()
                        .map_err(|error| format!("the listing is not UTF-8: {error}"))?,
                );
            }
            Event::GeneralRef(reference) => match resolve(&reference) {
                Some(resolved) => text.push_str(&resolved),
                None => return Err("the listing has an entity that XML does not know".to_owned()),
            },
            Event::End(end) => {
                let name = end.local_name();
                let name = name.as_ref();
                if name == words.object.as_bytes() {
                    inside_object = false;
                    page.objects.extend(std::mem::take(&mut object).finish(words)?);
                } else if inside_object {
                    object.take(name, &mut text, words);
                } else if name == words.next.as_bytes() {
                    page.next = Some(std::mem::take(&mut text)).filter(|token| !token.is_empty());
                } else if name == b"IsTruncated" {
                    truncated = text == "true";
                } else if name == words.root.as_bytes() {
                    root_ended = true;
                }
                text.clear();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !root_ended {
        return Err("the listing ends in the middle".to_owned());
    }
    if truncated && page.next.is_none() {
        return Err("the listing says that it goes on, but not where".to_owned());
    }
    Ok(page)
}

#[derive(Default)]
struct Draft {
    key: Option<String>,
    key_is_encoded: bool,
    size: Option<String>,
    modified: Option<String>,
    version: Option<String>,
    directory: bool,
}

impl Draft {
    fn take(&mut self, name: &[u8], text: &mut String, words: &Words) {
        let slot = if name == words.key.as_bytes() {
            &mut self.key
        } else if name == words.size.as_bytes() {
            &mut self.size
        } else if name == words.version.as_bytes() {
            &mut self.version
        } else if name == b"LastModified" || name == b"Last-Modified" {
            &mut self.modified
        } else if name == b"ResourceType" {
            self.directory = text == "directory";
            return;
        } else {
            return;
        };
        if slot.is_none() {
            *slot = Some(std::mem::take(text));
        }
    }

    fn finish(self, words: &Words) -> Result<Option<ObjectMeta>, String> {
        if self.directory {
            return Ok(None);
        }
        let mut key = self.key.ok_or("the listing has an object without a name")?;
        if self.key_is_encoded {
            key = percent_decode(&key).ok_or_else(|| format!("the name {key} is not well encoded"))?;
        }
        let size = self.size.as_deref().unwrap_or_default();
        let size = size
            .parse()
            .map_err(|_| format!("the listing gives {key} the size {size:?}"))?;
        let modified = self.modified.as_deref().unwrap_or_default();
        let last_modified = (words.modified)(modified)
            .ok_or_else(|| format!("the listing gives {key} the time {modified:?}"))?;
        let version = self
            .version
            .filter(|tag| !tag.is_empty())
            .map(|tag| version_of_tag(&tag));
        Ok(Some(ObjectMeta {
            key,
            size,
            last_modified,
            version,
        }))
    }
}

/// An ETag without its quotes: listings give some with and some without.
pub(super) fn version_of_tag(tag: &str) -> ObjectVersion {
    ObjectVersion(tag.trim_matches('"').to_owned())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push((high * 16 + low) as u8);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// Percent-encodes all but letters, digits and `-._~`, and the bytes of `kept`.
pub(super) fn percent_encode(text: &str, kept: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_kept_exactly() {
        let page = parse_s3(
            br#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>Key</Prefix>
<KeyCount>2</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b==</NextContinuationToken>
<Contents><Key> a//b&#x1; &lt;&amp;&gt;%2F+ </Key><LastModified>2026-11-22T10:00:00.123Z</LastModified>
<ETag>&quot;0a&quot;</ETag><Size>12</Size><Owner><ID>Key</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>/</Key><LastModified>2026-11-22T10:00:00Z</LastModified><Size>0</Size></Contents>
</ListBucketResult>"#,
        )
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("a&b=="));
        assert_eq!(page.objects[0].key, " a//b\u{1} <&>%2F+ ");
        assert_eq!(page.objects[0].size, 12);
        assert_eq!(page.objects[0].last_modified, 1_795_341_600_123);
        assert_eq!(page.objects[0].version, Some(ObjectVersion("0a".into())));
        assert_eq!(page.objects[1].key, "/");
        assert_eq!(page.objects[1].version, None);
    }

    #[test]
    fn azure_pages_skip_directories_and_decode_marked_names() {
        let page = parse_azure(
            br#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="c"><Prefix>p</Prefix>
<Blobs><Blob><Name>a b%2F</Name><Properties><Last-Modified>Sun, 22 Nov 2026 10:00:00 GMT</Last-Modified><Etag>0x8D</Etag>
<Content-Length>5</Content-Length><ResourceType>file</ResourceType></Properties></Blob>
<Blob><Name>d</Name><Properties><Last-Modified>Sun, 22 Nov 2026 10:00:00 GMT</Last-Modified><Content-Length>0</Content-Length>
<ResourceType>directory</ResourceType></Properties></Blob>
<Blob><Name Encoded="true">x%EF%BF%BE</Name><Properties><Last-Modified>Sun, 22 Nov 2026 10:00:00 GMT</Last-Modified>
<Content-Length>1</Content-Length></Properties></Blob></Blobs><NextMarker /></EnumerationResults>"#,
        )
        .unwrap();
        let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["a b%2F", "x\u{fffe}"]);
        assert_eq!(page.objects[0].last_modified, 1_795_341_600_000);
        assert_eq!(page.objects[0].version, Some(ObjectVersion("0x8D".into())));
        assert_eq!(page.next, None);
    }

    #[test]
    fn broken_pages_are_refused() {
        for (body, words) in [
            ("", "ends in the middle"),
            ("<html></html>", "begins with <html>"),
            ("<ListBucketResult><Contents><Key>a</Key>", "ends in the middle"),
            (
                "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
                "without a name",
            ),
            (
                "<ListBucketResult><Contents><Key>a</Key><Size>x</Size></Contents></ListBucketResult>",
                "the size",
            ),
            (
                "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>",
                "the time",
            ),
            (
                "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                "goes on",
            ),
        ] {
            let error = parse_s3(body.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn encoding_is_undone_by_decoding(text in "\\PC{0,40}") {
            prop_assert_eq!(percent_decode(&percent_encode(&text, b"/")).unwrap(), text.clone());
            prop_assert!(percent_encode(&text, b"").is_ascii());
        }

        #[test]
        fn any_bytes_are_a_page_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_s3(&body);
            let _ = parse_azure(&body);
        }
    }
}
