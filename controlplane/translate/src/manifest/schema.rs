//! The fields of the kinds whose manifests are restored, as far as manifests of documents use them.

use std::collections::BTreeSet;

/// What stands under a field.
#[derive(Debug)]
pub(super) enum Schema {
    /// Text, number or truth.
    Scalar,
    /// Texts by any key: labels, annotations, data.
    Texts,
    Mapping(&'static [(&'static str, Schema)]),
    List(&'static Schema),
}

use Schema::{List, Mapping, Scalar, Texts};

impl Schema {
    /// What stands under that key.
    pub(super) fn field(&self, key: &str) -> Option<&Schema> {
        match self {
            Mapping(fields) => fields.iter().find(|(name, _)| *name == key).map(|(_, schema)| schema),
            Texts => Some(&Scalar),
            Scalar | List(_) => None,
        }
    }

    /// Whether it has lines of its own.
    pub(super) fn is_container(&self) -> bool {
        !matches!(self, Scalar)
    }
}

/// Whether a key cannot stand beside those that a mapping already has: a backend port has a number or a name.
pub(super) fn excluded(schema: &Schema, key: &str, seen: &BTreeSet<String>) -> bool {
    let is_backend_port = matches!(schema, Mapping([("number", Scalar), ("name", Scalar)]));
    is_backend_port && matches!(key, "name" | "number") && !seen.is_empty()
}

/// The schema of a kind.
pub(super) fn of(kind: &str) -> Option<&'static Schema> {
    Some(match kind {
        "Ingress" => &INGRESS,
        "IngressClass" => &INGRESS_CLASS,
        "Service" => &SERVICE,
        "EndpointSlice" => &ENDPOINT_SLICE,
        "Endpoints" => &ENDPOINTS,
        "Secret" => &SECRET,
        "ConfigMap" => &CONFIG_MAP,
        "Namespace" => &NAMESPACE,
        "HTTPRoute" => &HTTP_ROUTE,
        _ => return None,
    })
}

const METADATA: Schema = Mapping(&[
    ("name", Scalar),
    ("namespace", Scalar),
    ("creationTimestamp", Scalar),
    ("labels", Texts),
    ("annotations", Texts),
]);

const BACKEND_PORT: Schema = Mapping(&[("number", Scalar), ("name", Scalar)]);

const BACKEND: Schema = Mapping(&[
    ("service", Mapping(&[("name", Scalar), ("port", BACKEND_PORT)])),
    ("resource", Mapping(&[("apiGroup", Scalar), ("kind", Scalar), ("name", Scalar)])),
]);

static INGRESS: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    (
        "spec",
        Mapping(&[
            ("ingressClassName", Scalar),
            ("defaultBackend", BACKEND),
            ("tls", List(&Mapping(&[("hosts", List(&Scalar)), ("secretName", Scalar)]))),
            (
                "rules",
                List(&Mapping(&[
                    ("host", Scalar),
                    (
                        "http",
                        Mapping(&[(
                            "paths",
                            List(&Mapping(&[("path", Scalar), ("pathType", Scalar), ("backend", BACKEND)])),
                        )]),
                    ),
                ])),
            ),
        ]),
    ),
]);

static INGRESS_CLASS: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    (
        "spec",
        Mapping(&[
            ("controller", Scalar),
            (
                "parameters",
                Mapping(&[
                    ("apiGroup", Scalar),
                    ("kind", Scalar),
                    ("name", Scalar),
                    ("namespace", Scalar),
                    ("scope", Scalar),
                ]),
            ),
        ]),
    ),
]);

static SERVICE: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    (
        "spec",
        Mapping(&[
            ("type", Scalar),
            ("clusterIP", Scalar),
            ("externalName", Scalar),
            ("externalTrafficPolicy", Scalar),
            ("internalTrafficPolicy", Scalar),
            ("ipFamilyPolicy", Scalar),
            ("ipFamilies", List(&Scalar)),
            ("loadBalancerIP", Scalar),
            ("publishNotReadyAddresses", Scalar),
            ("sessionAffinity", Scalar),
            ("selector", Texts),
            (
                "ports",
                List(&Mapping(&[
                    ("name", Scalar),
                    ("protocol", Scalar),
                    ("appProtocol", Scalar),
                    ("port", Scalar),
                    ("targetPort", Scalar),
                    ("nodePort", Scalar),
                ])),
            ),
        ]),
    ),
]);

static ENDPOINT_SLICE: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    ("addressType", Scalar),
    ("ports", List(&Mapping(&[("name", Scalar), ("protocol", Scalar), ("port", Scalar)]))),
    (
        "endpoints",
        List(&Mapping(&[
            ("addresses", List(&Scalar)),
            ("conditions", Mapping(&[("ready", Scalar), ("serving", Scalar), ("terminating", Scalar)])),
            ("hostname", Scalar),
            ("nodeName", Scalar),
            ("zone", Scalar),
        ])),
    ),
]);

const ENDPOINT_ADDRESSES: Schema = List(&Mapping(&[
    ("ip", Scalar),
    ("hostname", Scalar),
    ("nodeName", Scalar),
    ("targetRef", Mapping(&[("kind", Scalar), ("namespace", Scalar), ("name", Scalar), ("uid", Scalar)])),
]));

static ENDPOINTS: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    (
        "subsets",
        List(&Mapping(&[
            ("addresses", ENDPOINT_ADDRESSES),
            ("notReadyAddresses", ENDPOINT_ADDRESSES),
            (
                "ports",
                List(&Mapping(&[
                    ("name", Scalar),
                    ("protocol", Scalar),
                    ("appProtocol", Scalar),
                    ("port", Scalar),
                ])),
            ),
        ])),
    ),
]);

static SECRET: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    ("type", Scalar),
    ("immutable", Scalar),
    ("data", Texts),
    ("stringData", Texts),
]);

static CONFIG_MAP: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    ("immutable", Scalar),
    ("data", Texts),
    ("binaryData", Texts),
]);

static NAMESPACE: Schema = Mapping(&[("apiVersion", Scalar), ("kind", Scalar), ("metadata", METADATA)]);

static HTTP_ROUTE: Schema = Mapping(&[
    ("apiVersion", Scalar),
    ("kind", Scalar),
    ("metadata", METADATA),
    (
        "spec",
        Mapping(&[
            (
                "parentRefs",
                List(&Mapping(&[
                    ("group", Scalar),
                    ("kind", Scalar),
                    ("name", Scalar),
                    ("namespace", Scalar),
                    ("sectionName", Scalar),
                    ("port", Scalar),
                ])),
            ),
            ("hostnames", List(&Scalar)),
            (
                "rules",
                List(&Mapping(&[
                    ("name", Scalar),
                    (
                        "matches",
                        List(&Mapping(&[
                            ("path", Mapping(&[("type", Scalar), ("value", Scalar)])),
                            ("method", Scalar),
                            (
                                "headers",
                                List(&Mapping(&[("type", Scalar), ("name", Scalar), ("value", Scalar)])),
                            ),
                            (
                                "queryParams",
                                List(&Mapping(&[("type", Scalar), ("name", Scalar), ("value", Scalar)])),
                            ),
                        ])),
                    ),
                    (
                        "backendRefs",
                        List(&Mapping(&[
                            ("group", Scalar),
                            ("kind", Scalar),
                            ("name", Scalar),
                            ("namespace", Scalar),
                            ("port", Scalar),
                            ("weight", Scalar),
                        ])),
                    ),
                    ("timeouts", Mapping(&[("request", Scalar), ("backendRequest", Scalar)])),
                ])),
            ),
        ]),
    ),
]);
