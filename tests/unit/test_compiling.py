"""Compiled programs of one processor are not given to another."""

from pathlib import Path

import pytest

from ntkpipe import compiling

INTEL = "processor\t: 0\nmodel name\t: Xeon\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\nbogomips\t: {mhz}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {more}\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


@pytest.fixture
def folder(tmp_path):
    def of(text: str) -> Path:
        (tmp_path / "cpuinfo").write_text(text)
        return compiling.folder(str(tmp_path / "results"), tmp_path / "cpuinfo")

    return of


def test_equal_processors_share_a_folder_whatever_their_clocks_and_number(folder):
    one = folder(INTEL.format(mhz=2100, flags="sse2 avx2"))
    assert one == folder(INTEL.format(mhz=2700, flags="avx2 sse2") * 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INTEL.format(mhz=1, flags="sse2 avx2"), INTEL.format(mhz=1, flags="sse2 avx2 avx512f")),
        (INTEL.format(mhz=1, flags="sse2"), INTEL.format(mhz=1, flags="sse2").replace("Xeon", "EPYC")),
        (ARM.format(more=""), ARM.format(more="sve")),
        (ARM.format(more=""), INTEL.format(mhz=1, flags="fp asimd")),
    ],
)
def test_processors_that_differ_in_model_or_instructions_do_not(folder, one, other):
    assert folder(one) != folder(other)


def test_it_lies_in_the_results_and_without_proc_there_is_one_too(tmp_path):
    for found in (compiling.folder(str(tmp_path)), compiling.folder(str(tmp_path), tmp_path / "none")):
        assert found.parent == tmp_path / ".jax_cache" and found.name
