"""`-o` lists: what fstab, mount(8) and front-ends send."""

import pytest

from vaultfs.cli.mountoptions import MountRequest, apply, parse_time, split
from vaultfs.errors import UsageError


def request(*lists: str) -> MountRequest:
    made = MountRequest()
    for text in lists:
        apply(made, text)
    return made


def test_an_fstab_line_keeps_only_what_means_something() -> None:
    made = request("rw,noauto,nofail,_netdev,user,x-systemd.automount,x-gvfs-show,comment=hello,defaults,relatime")
    assert made == MountRequest()


def test_options_libfuse_does_not_know_are_not_passed_on() -> None:
    """What `mount -o remount,nodiratime` sends; FUSE never lets the kernel change a time of access anyway."""
    assert request("nodiratime,diratime,strictatime,lazytime,norelatime") == MountRequest()


def test_options_that_mean_something() -> None:
    made = request("ro,allow_other,noxattr,idle=15m,passfile=/a,passfile=/b,fsname=vaultfs@/s,subtype=vaultfs,nosuid")
    assert made == MountRequest(
        read_only=True,
        allow_other=True,
        xattr=False,
        idle=900,
        fsname="vaultfs@/s",
        passfiles=["/a", "/b"],
        kernel=["nosuid"],
    )


def test_the_last_word_on_read_only_counts() -> None:
    assert not request("ro,rw").read_only
    assert request("rw", "ro").read_only


def test_escaped_commas_belong_to_the_value() -> None:
    assert split(r"extpass=a\,b,ro,fsname=x\\") == ["extpass=a,b", "ro", "fsname=x\\"]
    assert split("") == []
    assert split(",,ro,") == ["ro"]
    assert split("ro\\") == ["ro\\"]


@pytest.mark.parametrize("option", ["r0", "idle", "idle=", "ro=1", "fsname", "password=hunter22", "Ro"])
def test_an_unknown_option_is_refused_by_name(option: str) -> None:
    with pytest.raises(UsageError, match=option):
        request(f"rw,{option}")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_times(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1.5h", "-1", "1w", "10 m", "٣"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time(text)
