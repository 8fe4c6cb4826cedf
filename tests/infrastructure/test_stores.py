"""Network, database and cache, where the stack makes them."""

from typing import Any

import pytest

from tests.infrastructure.templates import MAIN, STORES, Resources, of_type, read, references, walk


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read(STORES)


@pytest.fixture(scope="module")
def resources(document: dict[str, Any]) -> Resources:
    found: Resources = document["Resources"]
    return found


def test_stores_let_in_the_functions_and_nobody_else(resources: Resources) -> None:
    for group, port in (("DatabaseGroup", 5432), ("CacheGroup", 6379), ("EndpointsGroup", 443)):
        (rule,) = resources[group]["Properties"]["SecurityGroupIngress"]
        assert rule["SourceSecurityGroupId"] == {"Ref": "FunctionsGroup"}
        assert (rule["FromPort"], rule["ToPort"]) == (port, port)
        (out,) = resources[group]["Properties"]["SecurityGroupEgress"]
        assert out["CidrIp"] == "127.0.0.1/32", "a group without a rule of its own would let everything out"
    assert "SecurityGroupIngress" not in resources["FunctionsGroup"]["Properties"]


def test_the_database_is_encrypted_backed_up_and_not_lost_by_deleting_the_stack(resources: Resources) -> None:
    database = resources["Database"]
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    properties = database["Properties"]
    assert properties["StorageEncrypted"] is True
    assert properties["KmsKeyId"] == {"Ref": "KeyArn"}
    assert properties["ManageMasterUserPassword"] is True
    assert properties["DeletionProtection"] == {"Ref": "DatabaseDeletionProtection"}
    assert properties["BackupRetentionPeriod"] == {"Ref": "DatabaseBackupDays"}
    assert resources["DatabaseParameters"]["Properties"]["Parameters"]["rds.force_ssl"] == "1"


def test_nothing_is_reachable_from_outside(resources: Resources) -> None:
    for each in of_type(resources, "AWS::RDS::DBInstance").values():
        assert each["Properties"]["PubliclyAccessible"] is False
    private = [{"Ref": "PrivateSubnetA"}, {"Ref": "PrivateSubnetB"}]
    assert resources["Cache"]["Properties"]["SubnetIds"] == private
    assert resources["DatabaseSubnets"]["Properties"]["SubnetIds"] == private
    assert not any(
        each["Properties"].get("MapPublicIpOnLaunch") for each in of_type(resources, "AWS::EC2::Subnet").values()
    )


def test_without_a_way_out_the_functions_still_reach_aws(resources: Resources) -> None:
    """What they call themselves: Secrets Manager, Lambda, SNS; and S3, where CloudFormation takes an answer."""
    endpoints = of_type(resources, "AWS::EC2::VPCEndpoint")
    services = {each["Properties"]["ServiceName"]["Fn::Sub"].rsplit(".", 1)[1]: each for each in endpoints.values()}
    assert set(services) == {"s3", "secretsmanager", "lambda", "sns"}
    assert "Condition" not in services["s3"]
    assert all(services[name]["Condition"] == "HasNoNat" for name in ("secretsmanager", "lambda", "sns"))


def test_every_resource_in_a_condition_is_referred_to_only_under_it(document: dict[str, Any]) -> None:
    """A zone's gateway is made under one of two conditions; what names it must be under the same one."""
    resources = document["Resources"]
    for name, resource in resources.items():
        if resource.get("Condition") == "HasNat":
            users = [each for each, other in resources.items() if name in references(other["Properties"])]
            assert all(resources[each].get("Condition") in {"HasNat", "HasSecondNat"} for each in users), name


def test_everything_that_stores_asks_for_is_passed(document: dict[str, Any]) -> None:
    passed = read(MAIN)["Resources"]["Stores"]["Properties"]["Parameters"]
    assert set(passed) == set(document["Parameters"])
    used = {
        each["Fn::GetAtt"][1].removeprefix("Outputs.")
        for each in walk(read(MAIN))
        if isinstance(each, dict) and each.get("Fn::GetAtt", [""])[0] == "Stores"
    }
    assert used <= set(document["Outputs"])
