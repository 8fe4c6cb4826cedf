"""What is kept of a benchmark's command line."""

from cli.suite_running import command_of


def test_a_command_is_told_without_where_the_results_are() -> None:
    arguments = ["bench", "drain", "--results", "/somewhere/run.json", "--json", "--rounds", "1"]
    assert command_of(arguments) == "scheduler bench drain --rounds 1"
    assert command_of(["bench", "all", "--results=/somewhere/run.json"]) == "scheduler bench all"
