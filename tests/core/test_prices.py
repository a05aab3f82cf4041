"""List prices: known machines cost something, unknown ones are unknown, and nothing is free."""

from __future__ import annotations

import pytest

from tidegate.core.prices import cost, hosting, training


@pytest.mark.parametrize(
    ("cloud", "machine", "trains", "hosts"),
    [
        ("sagemaker", "ml.m5.large", 0.115, 0.115),
        ("sagemaker", "ml.g5.xlarge", 1.408, 1.408),
        ("sagemaker", "ml.t2.medium", None, 0.056),  # no machine to train on
        ("vertex", "n1-standard-4", 0.21849885, 0.219),
        ("vertex", "n1-standard-16", 0.8739954, 0.876),
        ("vertex", "e2-standard-4", 0.154126276, 0.1541128),
        ("vertex", "g2-standard-4", 0.81293, 0.81293),
        ("vertex", "a2-highgpu-2g", 8.4487856, 8.4487856),
    ],
)
def test_a_listed_machine_has_its_price(
    cloud: str, machine: str, trains: float | None, hosts: float
) -> None:
    assert training(cloud, machine) == (None if trains is None else pytest.approx(trains))
    assert hosting(cloud, machine) == pytest.approx(hosts)


@pytest.mark.parametrize(
    ("cloud", "machine"),
    [
        ("sagemaker", "ml.z9.large"),
        ("sagemaker", "n1-standard-4"),
        ("vertex", "ml.m5.large"),
        ("vertex", "n1-standard-3"),  # no such size
        ("vertex", "n1-standard-0"),
        ("vertex", "n1-highmem-4"),
        ("vertex", ""),
    ],
)
def test_an_unlisted_machine_has_no_price_and_never_costs_nothing(cloud: str, machine: str) -> None:
    assert training(cloud, machine) is None
    assert hosting(cloud, machine) is None
    assert cost(3600, training(cloud, machine)) is None


def test_accelerators_add_to_the_machine_s_price_or_make_it_unknown() -> None:
    with_two = training("vertex", "n1-standard-4", accelerator="NVIDIA_TESLA_T4", accelerators=2)
    assert with_two == pytest.approx(0.21849885 + 2 * 0.4025)
    assert training("vertex", "n1-standard-4", accelerator="NVIDIA_X", accelerators=1) is None
    # A machine with accelerators of its own has them in its price.
    assert training("vertex", "g2-standard-4", accelerator="NVIDIA_L4", accelerators=1) == 0.81293


def test_a_cloud_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="azure"):
        training("azure", "ml.m5.large")


def test_cost_is_billed_hours_times_price() -> None:
    assert cost(5400, 0.23) == pytest.approx(0.345)
    assert cost(0, 0.23) == 0
    assert cost(None, 0.23) is None
