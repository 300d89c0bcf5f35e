//! Objects, and how they are written through the real API server.

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde_json::{Value, json};

use crate::support::World;

/// The namespace of all goals.
pub(crate) const NAMESPACE: &str = "default";
/// How many writes are under way at once where many are made.
const AT_ONCE: usize = 16;

/// Reads what a client needs; call [`Access::client`] inside.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    kubeconfig: Kubeconfig,
}

impl Access {
    pub(crate) fn of(world: &World) -> anyhow::Result<Self> {
        Ok(Self { kubeconfig: Kubeconfig::read_from(world.cluster().kubeconfig())? })
    }

    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let options = KubeConfigOptions::default();
        Ok(Client::try_from(Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options).await?)?)
    }
}

/// The objects of a kind.
pub(crate) fn all<K>(client: &Client) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), NAMESPACE)
}

/// An object from its JSON.
pub(crate) fn object<K: DeserializeOwned>(json: Value) -> anyhow::Result<K> {
    serde_json::from_value(json).context("an object of a test")
}

/// The class that ringress serves.
pub(crate) async fn create_class(client: &Client) -> anyhow::Result<()> {
    let class: IngressClass = object(json!({
        "metadata": {"name": "ringress"}, "spec": {"controller": "ringress.dev/ingress-controller"}
    }))?;
    Api::all(client.clone()).create(&PostParams::default(), &class).await?;
    Ok(())
}

/// A Service of port 80, with an EndpointSlice that leads to these ports of this address.
pub(crate) async fn create_service(
    client: &Client,
    name: &str,
    address: &str,
    ports: &[u16],
) -> anyhow::Result<()> {
    let service: Service =
        object(json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80, "name": "http"}]}}))?;
    all(client).create(&PostParams::default(), &service).await?;
    for port in ports {
        let slice: EndpointSlice = object(slice(&format!("{name}-{port}"), name, address, *port))?;
        all(client).create(&PostParams::default(), &slice).await?;
    }
    Ok(())
}

/// A slice of a Service that no controller manages.
pub(crate) fn slice(name: &str, service: &str, address: &str, port: u16) -> Value {
    let labels = json!({
        "kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "e2e.ringress.dev",
    });
    json!({
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    })
}

/// What fake pods listen on: another port than ringress beside them, for their addresses are those of the box itself.
const FAKE_PORT: u16 = 8088;

/// A fake pod behind a Service of its own: the controllers make its EndpointSlice.
pub(crate) fn fake_pod(name: &str) -> anyhow::Result<(Pod, Service)> {
    let pod = object(json!({
        "metadata": {"name": name, "labels": {"app": name}, "annotations": {"e2e.ringress.dev/fake": "true"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "anything", "ports": [{"containerPort": FAKE_PORT}]}]},
    }))?;
    let service = object(json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": FAKE_PORT, "name": "http"}]},
    }))?;
    Ok((pod, service))
}

/// A host that leads to a Service.
pub(crate) fn ingress(name: &str, host: &str, service: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"ingressClassName": "ringress", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
        ]}}]},
    })
}

/// The same with TLS.
pub(crate) fn ingress_with_tls(name: &str, host: &str, service: &str, secret: &str) -> Value {
    let mut ingress = ingress(name, host, service);
    ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    ingress
}

/// A certificate for a host.
pub(crate) fn tls_secret(name: &str, certificate: &str, key: &str) -> anyhow::Result<Secret> {
    object(json!({
        "metadata": {"name": name}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }))
}

/// Creates an Ingress; done when the API server has it.
pub(crate) async fn create_ingress(client: &Client, json: Value) -> anyhow::Result<()> {
    let ingress: Ingress = object(json)?;
    all(client).create(&PostParams::default(), &ingress).await?;
    Ok(())
}

/// Merges something into an object; done when the API server has it.
pub(crate) async fn merge<K>(client: &Client, name: &str, patch: Value) -> anyhow::Result<()>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    all::<K>(client).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Deletes an object; done when the API server has done it.
pub(crate) async fn delete<K>(client: &Client, name: &str) -> anyhow::Result<()>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    all::<K>(client).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Creates many objects of a kind, several at once.
pub(crate) async fn create_many<K>(
    client: &Client,
    objects: impl IntoIterator<Item = anyhow::Result<K>>,
) -> anyhow::Result<()>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = all(client);
    futures_util::stream::iter(objects)
        .map(|object| {
            let api = api.clone();
            async move {
                api.create(&PostParams::default(), &object?).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
