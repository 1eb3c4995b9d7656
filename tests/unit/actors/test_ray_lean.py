"""What becomes of the raylet's command line in a lean head."""

import os
import subprocess

import pytest

from actors.hosts import ray_lean

AGENT = "python /ray/agent.py --node-id=abc --session-dir=/tmp/session --temp-dir=/tmp"


def test_the_raylets_agents_are_replaced_by_the_stub():
    command = ["raylet", f"--dashboard_agent_command={AGENT}", "--head"]
    lean = ray_lean.lean_command(command)
    assert lean[0::2] == ["raylet", "--head"]
    assert lean[1].endswith(
        "ray_agent_stub.sh /tmp/session abc metrics_agent_port=-1 metrics_export_port=-1 "
        "dashboard_agent_listen_port=-1"
    )


def test_other_commands_stay_as_they_are():
    assert ray_lean.lean_command(["gcs_server", "--port=1"]) == ["gcs_server", "--port=1"]


def test_a_ray_that_names_its_options_differently_is_refused():
    with pytest.raises(ValueError, match="--session-dir"):
        ray_lean.lean_command(["raylet", "--runtime_env_agent_command=python agent.py"])


def test_the_stub_tells_its_ports_and_ends_with_its_parent(tmp_path):
    command = [str(ray_lean.STUB), str(tmp_path), "node1", "runtime_env_agent_port=1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stub:
        while not (tmp_path / "runtime_env_agent_port_node1").exists():
            assert stub.poll() is None
            os.sched_yield()
        stub.stdin.close()
        assert stub.wait(5) == 0
    assert (tmp_path / "runtime_env_agent_port_node1").read_text() == "1"
