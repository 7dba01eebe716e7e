"""Waits, at interpreter start, for the first import of a host, and does nothing else.

`mergekit_calib_autoload.pth` imports this module in every Python process of the environment, so it is installed at
the top level, by itself, as `mergekit_calib_autoload`, and imports `sys` alone. The hooks proper are loaded when
`mergekit` or `lm_eval` is first imported.
"""

import sys

HOSTS = ("mergekit", "lm_eval")


class HostFinder:
    """A meta path finder that finds nothing itself, but sees the hosts being looked for."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in HOSTS or cls not in sys.meta_path:
            return None
        import importlib.util

        sys.meta_path.remove(cls)
        cls.load_hooks()
        # Searched anew, by the others: the search that is going on would miss whoever moved up into our place.
        return importlib.util.find_spec(name)

    @staticmethod
    def load_hooks():
        """Install the hooks, unless switched off; whatever goes wrong, the host is imported as ever."""
        import os

        if os.environ.get("MERGEKIT_CALIB_DISABLE") == "1":
            return
        try:
            from mergekit_calib.integrations import hooks

            hooks.install()
        except Exception as problem:
            print(
                f"mergekit-calib: not active: {type(problem).__name__}: {problem}. mergekit and lm-eval themselves "
                "work as without the plugin; MERGEKIT_CALIB_DISABLE=1 silences this.",
                file=sys.stderr,
            )


if HostFinder not in sys.meta_path:
    sys.meta_path.insert(0, HostFinder)
