"""Promise: livekit-server knows who may ring and what a call starts, however often it is told, and nothing of callers."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from tests.line.conftest import Standing
from triage.config import Settings, load
from triage.errors import UsageError
from triage.up import provision
from triage.up.line_files import Access


@pytest.fixture
async def service(standing: Standing) -> AsyncIterator[Any]:
    """livekit-server's own API; every trunk and rule is gone afterwards, and provisioned as before."""
    line = standing.line
    async with api.LiveKitAPI(line.api_url, line.access.api_key, line.access.api_secret) as client:
        yield client.sip
        trunks = [
            *(await client.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items,
            *(await client.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())).items,
        ]
        for trunk in trunks:
            await client.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=trunk.sip_trunk_id))
        for rule in (await client.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items:
            await client.sip.delete_dispatch_rule(
                api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule.sip_dispatch_rule_id)
            )
    await provision.provision(standing.settings, standing.line)


async def test_up_has_provisioned_and_again_changes_nothing(standing: Standing) -> None:
    assert await provision.missing(standing.settings, standing.line) == ()
    first = await provision.provision(standing.settings, standing.line)
    assert first.changes == ()
    assert await provision.provision(standing.settings, standing.line) == first


async def test_what_is_not_there_is_named_and_made(service: Any, standing: Standing) -> None:
    known = await provision.provision(standing.settings, standing.line)
    await service.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=known.nurse_trunk))
    assert await provision.missing(standing.settings, standing.line) == ("nurse trunk is missing",)
    done = await provision.provision(standing.settings, standing.line)
    assert done.changes == ("nurse trunk made",)
    assert done.nurse_trunk != known.nurse_trunk


async def test_a_setting_that_changed_replaces_under_the_same_id(service: Any, standing: Standing) -> None:
    known = await provision.provision(standing.settings, standing.line)
    other = standing.settings.model_copy(update={"line_carrier_addresses": ("192.0.2.0/28",), "line_max_call_h": 2.0})
    assert await provision.missing(other, standing.line) == ("inbound trunk differs from the settings",)
    done = await provision.provision(other, standing.line)
    assert (done.inbound_trunk, done.changes) == (known.inbound_trunk, ("inbound trunk replaced",))
    (trunk,) = (await service.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items
    assert list(trunk.allowed_addresses) == ["192.0.2.0/28"] and trunk.max_call_duration.seconds == 7200


async def test_an_inbound_trunk_that_is_made_anew_takes_the_rule_along(service: Any, standing: Standing) -> None:
    known = await provision.provision(standing.settings, standing.line)
    await service.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=known.inbound_trunk))
    done = await provision.provision(standing.settings, standing.line)
    assert done.changes == ("inbound trunk made", "dispatch rule replaced")
    (rule,) = (await service.list_dispatch_rule(api.ListSIPDispatchRuleRequest())).items
    assert list(rule.trunk_ids) == [done.inbound_trunk]


async def test_doubles_are_deleted(service: Any, standing: Standing) -> None:
    known = await provision.provision(standing.settings, standing.line)
    double = provision.nurse_trunk(standing.settings.model_copy(update={"line_number": "+15550177"}))
    await service.create_outbound_trunk(api.CreateSIPOutboundTrunkRequest(trunk=double))
    assert await provision.missing(standing.settings, standing.line) == ("nurse trunk stands 2 times",)
    done = await provision.provision(standing.settings, standing.line)
    assert "nurse trunk: a double deleted" in done.changes
    assert len((await service.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())).items) == 1
    assert done.inbound_trunk == known.inbound_trunk


@pytest.mark.parametrize("numbers", [["+15550100"], ["15550100"], ["+15550199", "1 (555) 01-00"], []])
async def test_somebody_elses_trunk_for_our_number_is_told_and_left_alone(
    numbers: list[str], service: Any, standing: Standing
) -> None:
    ours = await provision.provision(standing.settings, standing.line)
    await service.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=ours.inbound_trunk))
    foreign = api.SIPInboundTrunkInfo(name="somebody else's", numbers=numbers, allowed_addresses=["192.0.2.1"])
    made = await service.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=foreign))
    with pytest.raises(UsageError, match=rf"another inbound trunk for our number \({made.sip_trunk_id}\)"):
        await provision.provision(standing.settings, standing.line)
    assert made.sip_trunk_id in (await provision.missing(standing.settings, standing.line))[0]
    names = {trunk.name for trunk in (await service.list_inbound_trunk(api.ListSIPInboundTrunkRequest())).items}
    assert names == {"somebody else's"}


async def test_a_rule_that_lets_in_everybody_is_told(service: Any, standing: Standing) -> None:
    rule = api.SIPDispatchRuleInfo(
        name="open to all", rule=api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="x"))
    )
    await service.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    with pytest.raises(UsageError, match="names no trunk"):
        await provision.provision(standing.settings, standing.line)


async def test_somebody_elses_rule_for_our_trunk_is_told(service: Any, standing: Standing) -> None:
    """livekit-server would take it, and from then on refuse the calls or give them to that rule."""
    ours = await provision.provision(standing.settings, standing.line)
    rule = api.SIPDispatchRuleInfo(
        name="somebody else's",
        trunk_ids=["ST_other", ours.inbound_trunk],
        rule=api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="x", pin="1234")),
    )
    made = await service.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    with pytest.raises(UsageError, match=rf"another dispatch rule for our trunk \({made.sip_dispatch_rule_id}\)"):
        await provision.provision(standing.settings, standing.line)
    assert made.sip_dispatch_rule_id in (await provision.missing(standing.settings, standing.line))[0]


async def test_trunks_and_rules_that_do_not_touch_ours_are_nobodys_business(service: Any, standing: Standing) -> None:
    other = api.SIPInboundTrunkInfo(name="other", numbers=["+15550199"], allowed_addresses=["192.0.2.1"])
    trunk = await service.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=other))
    rule = api.SIPDispatchRuleInfo(
        name="other",
        trunk_ids=[trunk.sip_trunk_id],
        rule=api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="x")),
    )
    await service.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))
    assert await provision.missing(standing.settings, standing.line) == ()


async def test_a_wrong_key_is_told_without_the_key(standing: Standing) -> None:
    wrong = Access(standing.line.access.api_key, "x" * 40, standing.line.access.redis_password)
    with pytest.raises(UsageError, match="refuses our key") as told:
        await provision.provision(standing.settings, dataclasses.replace(standing.line, access=wrong))
    assert "x" * 8 not in str(told.value)


async def test_no_server_is_told(standing: Standing) -> None:
    ports = dataclasses.replace(standing.line.ports, server=9)
    with pytest.raises(UsageError, match="port 9 does not answer; start the line with `triage up`"):
        await provision.provision(standing.settings, dataclasses.replace(standing.line, ports=ports))


# --- what is told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data=tmp_path, env={"TRIAGE_LINE_CARRIER_ADDRESSES": "192.0.2.0/28"})


def test_only_the_carrier_may_ring_and_only_our_number(settings: Settings) -> None:
    trunk = provision.inbound_trunk(settings)
    assert list(trunk.allowed_addresses) == ["192.0.2.0/28"]
    assert list(trunk.numbers) == [settings.line_number]
    assert trunk.ringing_timeout.seconds == 20
    assert trunk.max_call_duration.seconds >= 3600


def test_the_rule_names_its_trunk_and_our_agent(settings: Settings) -> None:
    rule = provision.dispatch_rule(settings, "ST_1")
    assert list(rule.trunk_ids) == ["ST_1"]
    assert [agent.agent_name for agent in rule.room_config.agents] == [settings.line_agent]


def test_nothing_of_the_callers_number_gets_into_names_and_attributes(settings: Settings) -> None:
    rule = provision.dispatch_rule(settings, "ST_1")
    assert rule.hide_phone_number
    assert rule.rule.WhichOneof("rule") == "dispatch_rule_callee" and rule.rule.dispatch_rule_callee.randomize
    for trunk in (provision.inbound_trunk(settings), provision.nurse_trunk(settings)):
        assert trunk.include_headers == api.SIPHeaderOptions.SIP_NO_HEADERS
        assert not trunk.headers_to_attributes and not trunk.attributes_to_headers


def test_a_held_leg_may_be_silent_for_minutes(settings: Settings) -> None:
    told = (
        provision.inbound_trunk(settings),
        provision.dispatch_rule(settings, "ST_1"),
        provision.nurse_trunk(settings),
    )
    assert all(one.media.media_timeout.seconds >= 300 for one in told)
