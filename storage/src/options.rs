//! From a URL to a store, and how patient its callers are.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::error::{Result, StoreError};

/// How to reach an S3 server, and how long to wait for it. What is `None` comes from the
/// usual `AWS_*` variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions {
    /// Of a server that is not Amazon's, as `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub patience: Patience,
}

/// How long to wait for a store. Failures of the server are tried again with growing, random
/// pauses; so are time-outs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For one request, from connecting to the last byte of the answer.
    pub request: Duration,
    /// For one operation with all its attempts; listings and models have this for each page
    /// or part.
    pub operation: Duration,
    /// Attempts after the first.
    pub retries: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { request: Duration::from_secs(15), operation: Duration::from_secs(60), retries: 5 }
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .field("secret_key", &self.secret_key.as_ref().map(|_| "***"))
            .field("patience", &self.patience)
            .finish()
    }
}

/// The store behind a URL and the place in it that the URL names.
pub(crate) fn open(url: &str, options: &StorageOptions) -> Result<(Arc<dyn ObjectStore>, Path)> {
    let refuse = |reason: String| StoreError::Url { url: url.to_owned(), reason };
    let parsed = Url::parse(url).map_err(|e| {
        refuse(format!("{e}; write file:///folder, s3://bucket/prefix or memory://"))
    })?;
    match parsed.scheme() {
        "file" => {
            let path = parsed
                .to_file_path()
                .map_err(|()| refuse("a folder is written file:///folder".into()))?;
            Ok((folder(&path)?, Path::default()))
        }
        "memory" => Ok((Arc::new(InMemory::new()), Path::default())),
        "s3" => {
            let bucket = parsed
                .host_str()
                .filter(|bucket| !bucket.is_empty())
                .ok_or_else(|| refuse("it names no bucket; write s3://bucket/prefix".into()))?;
            let root = Path::from_url_path(parsed.path())
                .map_err(|e| refuse(format!("its prefix is not usable: {e}")))?;
            Ok((s3(bucket, options).map_err(refuse)?, root))
        }
        other => Err(refuse(format!(
            "`{other}` is no known kind of store; write file:///folder, s3://bucket/prefix or \
             memory://"
        ))),
    }
}

/// Writes are whole or absent even when the process dies in the middle, and on disk before
/// they are reported done.
pub(crate) fn folder(path: &FilePath) -> Result<Arc<dyn ObjectStore>> {
    let fail = |source| StoreError::Folder { path: path.display().to_string(), source };
    std::fs::create_dir_all(path).map_err(fail)?;
    let objects = LocalFileSystem::new_with_prefix(path)
        .map_err(|e| fail(std::io::Error::other(e)))?
        .with_fsync(true)
        // As in a bucket: a folder without objects is none.
        .with_automatic_cleanup(true);
    Ok(Arc::new(objects))
}

fn s3(bucket: &str, options: &StorageOptions) -> Result<Arc<dyn ObjectStore>, String> {
    // The HTTP client asks the process for its cryptography. Somebody may have chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Patience { request, operation, retries } = options.patience;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let set = [
        (AmazonS3ConfigKey::Endpoint, &options.endpoint),
        (AmazonS3ConfigKey::Region, &options.region),
        (AmazonS3ConfigKey::AccessKeyId, &options.access_key),
        (AmazonS3ConfigKey::SecretAccessKey, &options.secret_key),
    ];
    for (key, value) in set {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    let plain = match &endpoint {
        Some(endpoint) => match Url::parse(endpoint) {
            Ok(url) if url.scheme() == "http" && url.has_host() => true,
            Ok(url) if url.scheme() == "https" && url.has_host() => false,
            _ => return Err(format!("its endpoint `{endpoint}` is not an http or https URL")),
        },
        None => false,
    };
    let client = ClientOptions::new()
        .with_timeout(request)
        .with_connect_timeout(request.min(Duration::from_secs(5)))
        .with_allow_http(plain);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: retries,
        retry_timeout: operation,
    };
    let store = builder
        .with_client_options(client)
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_checksum_algorithm(Checksum::SHA256)
        .build()
        .map_err(|e| e.to_string())?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, options: &StorageOptions) -> String {
        open(url, options).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_url_says_what_to_write_instead() {
        let options = StorageOptions::default();
        for (url, part) in [
            ("bucket", "write file:///folder"),
            ("ftp://host/x", "`ftp` is no known kind of store"),
            ("s3:///prefix", "names no bucket"),
            ("file://host/x", "file:///folder"),
        ] {
            let said = refused(url, &options);
            assert!(said.contains(part) && said.contains(url), "{said}");
        }
        let options = StorageOptions { endpoint: Some("localhost:8333".into()), ..options };
        assert!(refused("s3://bucket", &options).contains("`localhost:8333` is not an http"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = Some("hush".to_owned());
        let options = StorageOptions { secret_key: secret, ..StorageOptions::default() };
        assert!(!format!("{options:?}").contains("hush"));
    }
}
