"""pycryptodome is loaded without its parser of C declarations, and cffi stays what it was for everybody else."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("before", ["", "import cffi; known = cffi; "])
def test_it_is_loaded_without_parsing_c(before: str) -> None:
    program = (
        f"import sys; {before}"
        "from vaultfs.crypto.pycryptodome import scrypt; "
        "assert len(scrypt(b'password', b'salt', 32, 2, 8, 1)) == 32; "
        "assert 'pycparser' not in sys.modules or 'known' in globals(); "
        "import cffi; assert cffi.FFI().sizeof('int') == 4; "
        "assert globals().get('known', cffi) is cffi"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_other_program_is_run_for_it() -> None:
    program = (
        "import sys; started = []; "
        "sys.addaudithook(lambda event, args: started.append(args) if event == 'subprocess.Popen' else None); "
        "import vaultfs.crypto.pycryptodome; "
        "assert not started, started"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
