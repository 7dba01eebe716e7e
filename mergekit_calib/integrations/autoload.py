"""Load the hooks at the first import of mergekit or lm-eval.

`mergekit_calib_autoload.pth` imports this module in every Python process of the environment. So it is installed as
a top-level module, `mergekit_calib_autoload`, and imports only `sys`.
"""

import sys

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than this module
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

HOSTS = ("mergekit", "lm_eval")


class HostFinder:
    """A meta path finder that finds no module: it only notices the first import of a host."""

    @classmethod
    def find_spec(
        cls, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Load the hooks before the first host is imported; the other finders then find the host."""
        if name not in HOSTS or cls not in sys.meta_path:
            return None
        import importlib.util

        sys.meta_path.remove(cls)
        cls.load_hooks()
        # A new search, because the current one would skip the finder that has moved up to this finder's place.
        return importlib.util.find_spec(name)

    @staticmethod
    def load_hooks() -> None:
        """Install the hooks, unless they are switched off; whatever goes wrong, the host is imported as usual."""
        try:
            from mergekit_calib.integrations import is_switched_off

            if not is_switched_off():
                from mergekit_calib.integrations import hooks

                hooks.install()
        except Exception as problem:
            print(
                f"mergekit-calib: not active: {type(problem).__name__}: {problem}. mergekit and lm-eval work as "
                "without the plugin; set MERGEKIT_CALIB_DISABLE=1 to hide this message.",
                file=sys.stderr,
            )


if HostFinder not in sys.meta_path:
    sys.meta_path.insert(0, HostFinder)
