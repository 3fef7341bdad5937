#!/usr/bin/env python3
"""Checks of the Helm chart: chart.py lint|schemas|ways|security|refuses|telemetry|demand|queries."""
import copy
import pathlib
import sys

import cloudcoil.models.keda.v1alpha1 as keda
import cloudcoil.models.prometheus_operator.v1 as prometheus
import helm_python
import kubernetes_validate
import yaml

CHART = pathlib.Path("deploy/helm/vqfarm")
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
KUBERNETES = ["1.29", "1.32", "1.35"]
# Kinds that Kubernetes itself does not know.
OPERATORS = {"ScaledObject": keda.ScaledObject, "PodMonitor": prometheus.PodMonitor}
LEAST = {"farm": {"storage": "s3://farm"}}


def render(values):
    """All objects of a release, in the order of the templates."""
    chart = helm_python.Chart.load(str(CHART))
    chart.validate_schema(values)
    texts = chart.render(values, name="farm", namespace="render")
    objects = []
    for path, text in texts.items():
        if path.endswith(".yaml"):
            objects += [document for document in yaml.safe_load_all(text) if document]
    return objects


def cases():
    """(name, values) of all that is tried."""
    yield "least", LEAST
    for path in EXAMPLES:
        yield path.name, yaml.safe_load(path.read_text())
    everything = copy.deepcopy(LEAST)
    everything |= {
        "image": {"pullSecrets": [{"name": "regcred"}]},
        "coordinator": {"tlsSecretName": "tls", "notifySecretName": "notify", "nodeSelector": {"a": "b"},
                        "tolerations": [{"operator": "Exists"}], "service": {"annotations": {"a": "b"}}},
        "telemetry": {"endpoint": "http://collector:4317", "protocol": "grpc", "sampleRatio": 0.1},
        "workers": {"a": {"runtimeClassName": "nvidia", "priorityClassName": "low", "batch": 16, "threads": 2}},
        "ingress": {"enabled": True, "className": "nginx", "annotations": {"a": "b", "c": "d"},
                    "web": {"host": "farm.example", "tlsSecretName": "web-tls"},
                    "grpc": {"host": "grpc.farm.example", "tlsSecretName": "grpc-tls", "annotations": {"a": "e"}}},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "1m30s"},
        "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                          "redisTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "storageTo": [{"podSelector": {}}]},
    }
    yield "everything", everything


def lint():
    for name, values in cases():
        report = helm_python.lint(str(CHART), values, strict=True)
        said = [message for message in report["messages"] if message["severity"] >= 2]
        assert not said and not report["errors"], (name, said, report["errors"])


def schemas():
    for name, values in cases():
        objects = render(values)
        kinds = [object["kind"] for object in objects]
        print(name, *kinds)
        assert kinds.count("Deployment") == 1 + len(values.get("workers", {})), name
        keys = [(object["kind"], object["metadata"]["name"]) for object in objects]
        assert len(keys) == len(set(keys)), f"{name}: twice the same name"
        for object in objects:
            if object["kind"] in OPERATORS:
                # The types ignore what they do not know: all must come out again.
                known = OPERATORS[object["kind"]].model_validate(object)
                again = known.model_dump(by_alias=True, exclude_unset=True, mode="json")
                assert again == object, f"{name}: {again} is not {object}"
            else:
                for version in KUBERNETES:
                    kubernetes_validate.validate(object, version, strict=True)


def ways():
    """What is off stays off; what is on leads to ports that there are."""
    for name, values in cases():
        objects = render(values)
        kinds = [object["kind"] for object in objects]
        on = name == "everything"
        assert (kinds.count("Ingress"), kinds.count("PodMonitor")) == ((2, 1) if on else (0, 0)), (name, kinds)
    service = next(object for object in objects if object["kind"] == "Service")
    ports = {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
    hosts = {}
    for object in objects:
        if object["kind"] == "Ingress":
            (rule,) = object["spec"]["rules"]
            (path,) = rule["http"]["paths"]
            backend = path["backend"]["service"]
            assert backend["name"] == service["metadata"]["name"] and backend["port"]["name"] in ports, object
            assert object["spec"]["tls"][0]["hosts"] == [rule["host"]], object
            hosts[rule["host"]] = (backend["port"]["name"], object["metadata"]["annotations"])
    assert hosts == {"farm.example": ("web", {"a": "b", "c": "d"}),
                     "grpc.farm.example": ("grpc", {"a": "e", "c": "d"})}, hosts
    # Who scrapes finds the port by name in each pod that is chosen.
    monitor = next(object for object in objects if object["kind"] == "PodMonitor")
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    pods = [object["spec"]["template"] for object in objects if object["kind"] == "Deployment"]
    for pod in pods:
        assert chosen <= pod["metadata"]["labels"].items(), pod
        named = [port["name"] for container in pod["spec"]["containers"] for port in container["ports"]]
        assert set(named) >= {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]}, named
    only_web = render(LEAST | {"ingress": {"enabled": True, "web": {"host": "farm.example"}}})
    assert [object["kind"] for object in only_web].count("Ingress") == 1


def containers(objects):
    for object in objects:
        if object["kind"] == "Deployment":
            pod = object["spec"]["template"]["spec"]
            for container in pod["containers"] + pod.get("initContainers", []):
                yield object, pod, container


def security():
    for name, values in cases():
        objects = render(values)
        assert "Secret" not in {object["kind"] for object in objects}, "a secret would be in the release's history"
        for object, pod, container in containers(objects):
            where = (name, object["metadata"]["name"], container["name"])
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], where
            assert security["capabilities"]["drop"] == ["ALL"], where
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert pod["automountServiceAccountToken"] is False, where
            assert container["resources"]["limits"]["memory"], where
            # The one that makes the node's cache over to the workers is root, with that right alone.
            if container["name"] == "cache":
                assert security["capabilities"]["add"] == ["CHOWN"], where
            else:
                assert pod["securityContext"]["runAsNonRoot"] and "runAsUser" not in security, where
            if container["name"] == "worker":
                grace = next(int(e["value"]) for e in container["env"] if e["name"] == "VQFARM_GRACE")
                assert pod["terminationGracePeriodSeconds"] > grace + 10, where
        policies = [object for object in objects if object["kind"] == "NetworkPolicy"]
        assert len(policies) == 2, name


def refuses():
    """Wrong values are refused, and the message names the place."""
    wrong = {
        "storage": {},
        "wrkers": LEAST | {"wrkers": {}},
        "grce": LEAST | {"workers": {"a": {"grce": 3}}},
        "s3://": {"farm": {"storage": "gs://farm"}},
        "gpus": LEAST | {"workers": {"a": {"gpus": 0}}},
        "replicas.min": LEAST | {"workers": {"a": {"replicas": {"min": 5, "max": 2}}}},
        "device": LEAST | {"workers": {"a": {"device": "tpu"}}},
        "tags": LEAST | {"workers": {"a": {"tags": ["a,b"]}}},
        "endpoint": LEAST | {"telemetry": {"endpoint": "collector:4318"}},
        "host": LEAST | {"ingress": {"enabled": True, "web": {"host": "https://farm.example"}}},
        "interval": LEAST | {"podMonitor": {"interval": "often"}},
    }
    for named, values in wrong.items():
        try:
            render(values)
        except helm_python.HelmError as error:
            assert named in str(error), f"{named} is not in: {error}"
        else:
            raise AssertionError(f"{values} was taken")


def telemetry():
    """Traces go where the values say, from coordinator and workers; nowhere when they say nothing."""
    for name, values in cases():
        told = values.get("telemetry", {})
        objects = render(values)
        for object, _, container in containers(objects):
            if container["name"] == "cache":
                continue
            found = {e["name"]: e["value"] for e in container["env"] if e["name"].startswith("OTEL_")}
            wanted = told and {
                "OTEL_EXPORTER_OTLP_ENDPOINT": told["endpoint"], "OTEL_EXPORTER_OTLP_PROTOCOL": told["protocol"],
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(told["sampleRatio"]),
            }
            assert found == wanted, (name, object["metadata"]["name"], found)
        policy = next(object for object in objects if object["kind"] == "NetworkPolicy")
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert (4317 in ports) == bool(told), (name, ports)


def queries_by_class(values):
    return {
        object["metadata"]["name"].removeprefix("farm-worker-"): object["spec"]["triggers"][0]["metadata"]["query"]
        for object in render(values)
        if object["kind"] == "ScaledObject"
    }


def queries():
    found = queries_by_class(yaml.safe_load((CHART / "examples/gpus-and-spot.yaml").read_text()))
    print(yaml.safe_dump([{"query": query} for query in found.values()]))


def demand():
    """A test for `promtool test rules`: demands, and what each class of an example shall see of them."""
    values = yaml.safe_load((CHART / "examples/gpus-and-spot.yaml").read_text())
    values["autoscaling"] = {"selector": 'namespace="render"'}
    values["workers"]["dotted"] = {"tags": ["v1.2"], "gpus": 1}
    told = [("", 0, 1), ("", 22, 2), ("", 23, 4), ("ffmpeg", 0, 8), ("a100", 39, 16), ("a100", 40, 32),
            ("a100,studio", 16, 64), ("a100,huge", 0, 128), ("l4", 4, 256), ("cpu,ffmpeg", 0, 512), ("a100x", 0, 1024),
            ("v1.2", 0, 2048), ("v1x2", 0, 4096)]
    seen = {"a100": 16 + 64, "l4-spot": 1 + 2 + 8 + 256, "films": 1 + 2 + 4 + 8 + 512, "dotted": 1 + 2 + 4 + 8 + 2048}
    series = [
        {"series": f'vqfarm_demand{{namespace="{space}",instance="{instance}",tags="{tags}",gpu_memory_gib="{memory}"}}',
         "values": f"{tasks}x9"}
        for tags, memory, tasks in told
        # Two coordinators tell the same; another farm is none of ours.
        for space, instance in [("render", "a"), ("render", "b"), ("other", "c")]
    ]
    found = queries_by_class(values)
    assert found.keys() == seen.keys(), found
    workers = [{"series": 'vqfarm_workers{namespace="render",instance="a",state="idle"}', "values": "3x9"}]

    def test(series, answers):
        samples = [{"expr": query, "eval_time": "5m", "exp_samples": answers(name)} for name, query in found.items()]
        return {"interval": "1m", "input_series": series, "promql_expr_test": samples}

    tests = [
        test(series + workers, lambda name: [{"labels": "{}", "value": seen[name]}]),
        # Nobody asks for anything; nobody measures.
        test(workers, lambda _: [{"labels": "{}", "value": 0}]),
        test([], lambda _: []),
    ]
    print(yaml.safe_dump({"tests": tests}))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
