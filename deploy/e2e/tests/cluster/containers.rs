//! Pods and their containers.

use anyhow::ensure;

use crate::Case;
use crate::support::{World, condition};

pub(crate) const CASES: &[Case] = &[
    ("volumes_environment_and_identity_are_as_the_spec_says", volumes),
    ("a_changed_config_map_reaches_the_container", changed_config_map),
    ("an_account_without_rights_is_forbidden_and_one_with_rights_is_not", service_account),
    ("a_missing_secret_holds_a_pod_until_it_is_there", missing_secret),
    ("an_unknown_image_is_named", unknown_image),
    ("a_job_completes_and_one_that_fails_is_repeated", jobs),
    ("a_container_that_ends_comes_back_and_its_last_words_stay", restart),
    ("liveness_restarts_and_readiness_does_not", probes),
    ("sigterm_comes_after_the_hook_and_before_patience_ends", graceful_end),
    ("a_program_that_ignores_sigterm_is_killed_when_patience_ends", patience),
    ("a_daemon_set_on_the_network_of_its_node_has_the_address_of_the_node", host_network),
    ("logs_are_followed_and_cut", logs),
];

fn volumes(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: "1", b: two}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {x: first}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {l: m}}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 65532, runAsGroup: 65532, runAsNonRoot: true, fsGroup: 2000}
  initContainers:
  - {name: i, image: shell, command: [sh, -c, echo init > /shared/i], volumeMounts: [{name: e, mountPath: /shared}]}
  containers:
  - name: main
    image: shell
    command: [sh, -c]
    args:
    - |
      cat /shared/i /sec/deep/a /cm/x; echo; grep l= /down/labels
      stat -Lc '%n %u:%g %a' /shared /shared/i /sec /sec/deep/a /cm/x; id -G
      echo "env $A $B $(POD) $ADDRESS $LIMIT"; id -u; touch /x || echo read-only
      grep -E 'CapBnd|NoNewPrivs' /proc/self/status
    resources: {requests: {cpu: 10m}, limits: {memory: 64Mi}}
    env:
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: B, valueFrom: {configMapKeyRef: {name: c, key: x}}}
    - {name: A, valueFrom: {secretKeyRef: {name: s, key: a}}}
    securityContext:
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
    volumeMounts:
    - {name: e, mountPath: /shared}
    - {name: s, mountPath: /sec}
    - {name: c, mountPath: /cm}
    - {name: d, mountPath: /down}
  volumes:
  - {name: e, emptyDir: {}}
  - {name: s, secret: {secretName: s, defaultMode: 0400, items: [{key: a, path: deep/a}]}}
  - {name: c, configMap: {name: c}}
  - {name: d, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
"#,
    )?;
    world.until("the pod succeeds", || Ok(world.get("pod", "p")?["status"]["phase"] == "Succeeded"))?;
    let address = world.get("pod", "p")?["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    let log = world.kubectl(&["logs", "p", "-c", "main"])?;
    let env = format!("env 1 first p {address} 67108864");
    // CapBnd 400 is NET_BIND_SERVICE alone.
    for line in [
        "init",
        "1first",
        "l=\"m\"",
        // Of the fsGroup: what is empty it may write, what is mounted it may read.
        "/shared 0:2000 2777",
        "/shared/i 65532:2000 644",
        "/sec 0:2000 2755",
        "/sec/deep/a 0:2000 440",
        "/cm/x 0:2000 644",
        "65532 2000",
        &env,
        "65532",
        "read-only",
        "CapBnd:\t0000000000000400",
        "NoNewPrivs:\t1",
    ] {
        ensure!(log.lines().any(|said| said == line), "no line {line:?} in:\n{log}");
    }
    Ok(())
}

fn changed_config_map(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {x: first}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: shell, command: [sh, -c, while sleep 0.1; do cat /cm/x; echo; done], volumeMounts: [{name: c, mountPath: /cm}]}
  volumes: [{name: c, configMap: {name: c}}]
"#,
    )?;
    let says = |word: &str| Ok(world.kubectl(&["logs", "p", "--tail=1"])?.trim() == word);
    world.until("it reads the first text", || says("first"))?;
    world.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {x: second}}")?;
    world.until("it reads the second text", || says("second"))
}

fn service_account(world: &World) -> anyhow::Result<()> {
    let pod = |name: &str, account: &str| {
        format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  serviceAccountName: {account}
  containers:
  - name: main
    image: curl
    command: [sh, -c]
    args:
    - |
      cd /var/run/secrets/kubernetes.io/serviceaccount
      curl -sS -m 10 -o /dev/null -w '%{{http_code}}' --cacert ca.crt -H "Authorization: Bearer $(cat token)" \
        "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$(cat namespace)/pods"
---
"#
        )
    };
    world.apply(&format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader}}
rules: [{{apiGroups: [""], resources: [pods], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {}}}]
---
{}{}"#,
        world.namespace(),
        pod("without", "default"),
        pod("with", "reader"),
    ))?;
    for (name, status) in [("without", "403"), ("with", "200")] {
        world.until("the pod succeeds", || Ok(world.get("pod", name)?["status"]["phase"] == "Succeeded"))?;
        let said = world.kubectl(&["logs", name])?;
        ensure!(said.trim() == status, "{name} rights: {said}");
    }
    Ok(())
}

fn missing_secret(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: [{name: main, image: pause, volumeMounts: [{name: s, mountPath: /s}]}]
  volumes: [{name: s, secret: {secretName: late}}]
"#,
    )?;
    world.until("the missing Secret is named", || {
        let waiting = &world.get("pod", "p")?["status"]["containerStatuses"][0]["state"]["waiting"];
        Ok(waiting["message"].as_str().is_some_and(|message| message.contains("Secret late does not exist")))
    })?;
    world.apply("{apiVersion: v1, kind: Secret, metadata: {name: late}, stringData: {k: v}}")?;
    world.until_ready("p", "True")
}

fn unknown_image(world: &World) -> anyhow::Result<()> {
    world.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: 'registry/none:1'}]}}")?;
    world.until("the image is named", || {
        let status = &world.get("pod", "p")?["status"];
        let message = &status["containerStatuses"][0]["state"]["waiting"]["message"];
        Ok(status["phase"] == "Pending"
            && message.as_str().is_some_and(|text| text.contains("registry/none:1")))
    })
}

fn jobs(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: shell, command: [sh, -c, exit 0]}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: c, image: shell, command: [sh, -c, exit 7]}]}}}
"#,
    )?;
    world.until("the good one completes", || {
        Ok(condition(&world.get("job", "good")?, "Complete") == "True")
    })?;
    world.until("the bad one fails", || Ok(condition(&world.get("job", "bad")?, "Failed") == "True"))?;
    let pods = world.list("pods", "job-name=bad")?;
    let code = &pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"];
    ensure!(*code == 7, "exit code {code}");
    Ok(())
}

fn restart(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - name: c
    image: shell
    command: [sh, -c, "if [ -e /e/second ]; then echo again; sleep 1000; fi; echo once; touch /e/second; exit 3"]
    volumeMounts: [{name: e, mountPath: /e}]
  terminationGracePeriodSeconds: 0
  volumes: [{name: e, emptyDir: {}}]
"#,
    )?;
    world.until("it is back", || Ok(world.kubectl(&["logs", "p"])?.trim() == "again"))?;
    world.until("its status says so", || {
        let status = world.get("pod", "p")?["status"]["containerStatuses"][0].clone();
        Ok(status["restartCount"] == 1 && status["lastState"]["terminated"]["exitCode"] == 3)
    })?;
    let before = world.kubectl(&["logs", "p", "--previous"])?;
    ensure!(before.trim() == "once", "the previous log says {before:?}");
    Ok(())
}

fn probes(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: dies}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: echo, livenessProbe: {httpGet: {path: /status/500, port: 8080}, periodSeconds: 1, failureThreshold: 2}}
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: echo, readinessProbe: {exec: {command: [test, -e, /run/ready]}, periodSeconds: 1, failureThreshold: 1}, livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}
"#,
    )?;
    world.until("liveness restarts", || {
        Ok(world.get("pod", "dies")?["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1))
    })?;
    world.until("the other one runs", || Ok(world.get("pod", "waits")?["status"]["phase"] == "Running"))?;
    let waits = world.get("pod", "waits")?;
    ensure!(condition(&waits, "Ready") == "False", "it is ready too early");
    ensure!(waits["status"]["containerStatuses"][0]["restartCount"] == 0, "readiness restarted it");
    Ok(())
}

fn graceful_end(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: c
    image: shell
    command: [sh, -c, "trap 'echo term $(cat /run/hook); exit 0' TERM; echo up; while :; do sleep 0.05; done"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 0.3; echo hooked > /run/hook"]}}}
"#,
    )?;
    world.until("it is up", || Ok(world.kubectl(&["logs", "p"])?.trim() == "up"))?;
    let began = std::time::Instant::now();
    world.kubectl(&["delete", "pod", "p"])?;
    ensure!(began.elapsed().as_secs() < 15, "it took {:?}", began.elapsed());
    let log = world.cluster().logs().join(format!("pods/{}_p_c.log", world.namespace()));
    // Its last words are written beside its end.
    world.until("it was hooked, then asked to end", || {
        let log = std::fs::read_to_string(&log)?;
        ensure!(log.contains("term hooked"), "it said: {log}");
        Ok(true)
    })
}

fn patience(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: shell, command: [sh, -c, "trap '' TERM; while :; do sleep 0.05; done"]}]
"#,
    )?;
    world.until_ready("p", "True")?;
    let began = std::time::Instant::now();
    world.kubectl(&["delete", "pod", "p"])?;
    let took = began.elapsed();
    ensure!((1..20).contains(&took.as_secs()), "it took {took:?}");
    Ok(())
}

fn host_network(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: echo, args: [--listen, "0.0.0.0:80"], readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]
"#,
    )?;
    world.until("a pod on each node is ready", || {
        let pods = world.list("pods", "app=d")?;
        Ok(pods.len() == 2 && pods.iter().all(|pod| condition(pod, "Ready") == "True"))
    })?;
    for pod in world.list("pods", "app=d")? {
        let (status, node) = (&pod["status"], &pod["spec"]["nodeName"]);
        ensure!(status["podIP"] == status["hostIP"], "{status}");
        let answer = world.exec(&[
            "curl",
            "-sS",
            "-m",
            "5",
            &format!("http://{}/", status["hostIP"].as_str().unwrap_or_default()),
        ])?;
        ensure!(answer.contains("\"service\": \"echo\""), "{node}: {answer}");
    }
    Ok(())
}

fn logs(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers: [{name: c, image: shell, command: [sh, -c, "echo one; sleep 1.2; echo two >&2; sleep 0.2"]}]
"#,
    )?;
    world.until("it began", || Ok(world.kubectl(&["logs", "p"])?.starts_with("one")))?;
    // Follows until the container ends, and no longer.
    let followed = world.kubectl(&["logs", "p", "--follow"])?;
    ensure!(followed == "one\ntwo\n", "followed: {followed:?}");
    let tail = world.kubectl(&["logs", "p", "--tail=1"])?;
    ensure!(tail == "two\n", "tail: {tail:?}");
    let recent = world.kubectl(&["logs", "p", "--timestamps"])?;
    let time = recent.lines().nth(1).and_then(|line| line.split(' ').next()).unwrap_or_default();
    let since = world.kubectl(&["logs", "p", &format!("--since-time={time}")])?;
    ensure!(since == "two\n", "since {time}: {since:?}");
    Ok(())
}
