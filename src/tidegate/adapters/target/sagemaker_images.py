"""Which of AWS's public inference images serves a model, and where a region keeps it.

Registries and tags: the image configuration of the SageMaker Python SDK, as of August 2026
(https://github.com/aws/sagemaker-python-sdk, sagemaker-core/src/sagemaker/core/image_uri_config:
sklearn.json, xgboost.json, pytorch.json); the Python of each image: its Dockerfile in
https://github.com/aws/deep-learning-containers (docker/sklearn, docker/xgboost, docs/src/data).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Region -> account of sagemaker-scikit-learn and sagemaker-xgboost.
_FRAMEWORKS: Mapping[str, str] = {
    "af-south-1": "510948584623",
    "ap-east-1": "651117190479",
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-northeast-3": "867004704886",
    "ap-south-1": "720646828776",
    "ap-south-2": "628508329040",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941",
    "ap-southeast-4": "106583098589",
    "ca-central-1": "341280168497",
    "ca-west-1": "190319476487",
    "cn-north-1": "450853457545",
    "cn-northwest-1": "451049120500",
    "eu-central-1": "492215442770",
    "eu-central-2": "680994064768",
    "eu-north-1": "662702820516",
    "eu-south-1": "978288397137",
    "eu-south-2": "104374241257",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "il-central-1": "898809789911",
    "me-central-1": "272398656194",
    "me-south-1": "801668240914",
    "sa-east-1": "737474898029",
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-gov-east-1": "237065988967",
    "us-gov-west-1": "414596584902",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}
# Region -> account of pytorch-inference, where it is not the usual one.
_USUAL = "763104351884"
_USUAL_REGIONS = frozenset(
    {
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    }
)
_PYTORCH: Mapping[str, str] = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}

# Python -> (repository, tag) by flavor; "": every other flavor. The model's own requirements are
# installed on top, so what an image must have is the toolkit and the Python.
_IMAGES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "3.12": {
        "pytorch": ("pytorch-inference", "2.6.0-{processor}-py312"),
        "xgboost": ("sagemaker-xgboost", "3.2-0-cpu-py3"),
        "": ("sagemaker-scikit-learn", "1.4-2-py312-cpu-py3"),
    },
    "3.11": {"": ("pytorch-inference", "2.5.1-{processor}-py311")},
}
_PYTHON = re.compile(r"^\s*python(?:_version)?:\s*['\"]?(\d+\.\d+)", re.MULTILINE)
_FLAVOR = re.compile(r"^  (\w+):\s*$", re.MULTILINE)
_GPU = re.compile(r"ml\.(?:g|p)\d")
_ARM = re.compile(r"ml\.[a-z]+\d+g[a-z]*\.")


def choose(model_dir: Path, region: str, instance_type: str) -> str:
    """Return the address of the public image that fits a model folder.

    Raises:
        ConfigError: none does: another Python, another kind of machine, a region without images.
    """
    python, flavors = trained_with(model_dir)
    if python is None or python not in _IMAGES:
        raise _unfit(
            f"the model was trained with Python {python or '(unknown)'}, and AWS's images have "
            f"{' and '.join(sorted(_IMAGES))}"
        )
    if _ARM.match(instance_type):
        raise _unfit(f"{instance_type} has Arm processors, for which no such image is public")
    by_flavor = _IMAGES[python]
    repository, tag = next(
        (by_flavor[flavor] for flavor in sorted(flavors) if flavor in by_flavor), by_flavor[""]
    )
    account = _FRAMEWORKS.get(region)
    if repository == "pytorch-inference":
        account = _USUAL if region in _USUAL_REGIONS else _PYTORCH.get(region)
    if account is None:
        raise _unfit(f"no registry for {repository} is known in {region}")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    processor = "gpu" if _GPU.match(instance_type) else "cpu"
    tag = tag.format(processor=processor)
    return f"{account}.dkr.ecr.{region}.{suffix}/{repository}:{tag}"


def trained_with(model_dir: Path) -> tuple[str | None, frozenset[str]]:
    """Return the Python ("3.12") and the flavors that an MLflow folder names.

    https://mlflow.org/docs/latest/ml/model/#storage-format
    """
    python = None
    for name in ("python_env.yaml", "MLmodel"):
        found = _PYTHON.search(_text(model_dir / name))
        python = python or (found[1] if found else None)
    return python, frozenset(_FLAVOR.findall(_text(model_dir / "MLmodel")))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _unfit(reason: str) -> ConfigError:
    return ConfigError(
        f"None of AWS's public images serves this model: {reason}.",
        remedy="Name an image of your own in mlops.yaml (release.sagemaker.image) that holds "
        "Python 3.11 or newer and either AWS's inference toolkit or "
        "`python /opt/ml/model/code/server.py` as its command.",
    )
