//! What a pod refers to: Secrets, ConfigMaps and tokens of its service account, read when they are needed.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};

/// Reads what one pod refers to.
#[derive(Clone)]
pub(crate) struct References {
    client: Client,
    namespace: String,
}

/// Keys and values.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// A token of a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) token: String,
    /// When a new one is due: well before this one expires.
    pub(crate) renew: Timestamp,
}

impl References {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The data of a Secret, `None` where there is none.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn secret(&self, name: &str) -> anyhow::Result<Option<Data>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get_opt(name).await.with_context(|| format!("Secret {name}"))?;
        Ok(secret.map(|secret| {
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
        }))
    }

    /// The data of a ConfigMap, `None` where there is none.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn config_map(&self, name: &str) -> anyhow::Result<Option<Data>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let map = api.get_opt(name).await.with_context(|| format!("ConfigMap {name}"))?;
        Ok(map.map(|map| {
            let texts =
                map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            texts.chain(bytes).collect()
        }))
    }

    /// A token that is valid as long as the pod lives.
    ///
    /// # Errors
    /// The API server does not answer, or there is no such account.
    pub(crate) async fn token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        seconds: Option<i64>,
    ) -> anyhow::Result<Token> {
        let account =
            pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                expiration_seconds: seconds,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let answer = api.create_token_request(account, &PostParams::default(), &request).await;
        let status =
            answer.with_context(|| format!("token of account {account}"))?.status.context("no token")?;
        let now = Timestamp::now();
        let life = status.expiration_timestamp.0.duration_since(now);
        Ok(Token { token: status.token, renew: now + life * 4 / 5 })
    }
}
