"""No module needs, by whatever way round, a module that needs it."""

from graphlib import CycleError, TopologicalSorter

import grimp


def test_imports_run_one_way() -> None:
    graph = grimp.build_graph("libs", "services", "bench", cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert sum(map(len, imported.values())) > 1000, "the graph is not ours"
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        # graphlib: the second argument is the circle, its first module last again.
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None
