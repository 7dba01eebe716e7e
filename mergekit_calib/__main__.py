"""`python -m mergekit_calib`, which works like the command `mergekit-calib`."""

from mergekit_calib.cli import main

if __name__ == "__main__":
    main(prog_name="python -m mergekit_calib")
