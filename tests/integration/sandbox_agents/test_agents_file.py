"""The agents' file: what may stand in it, and one clear line for what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.agents_file import load_agents
from service.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agents: [", "line 1 is not YAML"),
        ("- 1", "the document"),
        ("agents: {}", "agents: "),
        ("agents: {demo: {}}", "agents.demo"),
        ("agents: {agent_a: {colour: red}}", "agents.agent_a.colour"),
        ("agents: {agent_a: {languages: [de]}}", "agents.agent_a.languages.0"),
        ("agents: {agent_a: {languages: [en, es], first_message: {en: Hi}}}", "missing for the language 'es'"),
        ("agents: {agent_a: {voice_id: nobody}}", "there is no voice 'nobody'"),
        ("agents: {agent_a: {overrides: [frist_message]}}", "agents.agent_a.overrides.0"),
        ("agents: {agent_a: {output_format: mp3_44100_128}}", "agents.agent_a.output_format"),
        ("agents: {agent_a: {client_tools: [{name: t, answers: {en: x}}]}}", "nothing ever calls it"),
        ("agents: {agent_a: {max_duration_seconds: 0}}", "agents.agent_a.max_duration_seconds"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_agents(path)

    assert str(path) in str(refused.value)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_agents(tmp_path / "none.yaml")


def test_an_agent_of_few_words_gets_elevenlabs_defaults(tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text("agents: {agent_a: {silence_end_call_seconds: 20, turn_timeout_seconds: -1}}")
    agent = load_agents(path)["agent_a"]

    assert agent.public is False
    assert agent.profile.overrides == frozenset()
    assert agent.profile.output_format == "pcm_16000"
    assert agent.profile.max_duration_seconds == 600
    assert (agent.profile.turn_timeout_seconds, agent.profile.silence_end_call_seconds) == (None, 20)


def test_the_built_in_agents_are_those_that_the_documentation_names() -> None:
    agents = load_agents()

    assert {agent_id for agent_id, agent in agents.items() if not agent.public} == {"agent_private"}
    assert agents["agent_demo"].profile.languages == ("en", "es")
    assert agents["agent_text"].profile.text_only
    assert agents["agent_strict"].profile.overrides == frozenset()
