"""Processors: how many there are, which are set apart, and what they can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import os_traits

from moorage.cli.discovery.files import Files, fields, numbers_in
from moorage.model.valueclass import valueclass

CPUINFO: Final = "/proc/cpuinfo"
ONLINE: Final = "/sys/devices/system/cpu/online"
ISOLATED: Final = "/sys/devices/system/cpu/isolated"
THREADS: Final = "/sys/devices/system/cpu/smt/active"

X86_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "3dnow": ("3DNOW",),
    "abm": ("ABM",),
    "aes": ("AESNI",),
    "amx_bf16": ("AMXBF16",),
    "amx_int8": ("AMXINT8",),
    "amx_tile": ("AMXTILE",),
    "avx": ("AVX",),
    "avx2": ("AVX2",),
    "avx512_bitalg": ("AVX512BITALG",),
    "avx512_vbmi2": ("AVX512VBMI2",),
    "avx512_vnni": ("AVX512VNNI",),
    "avx512_vpopcntdq": ("AVX512VPOPCNTDQ",),
    "avx512bw": ("AVX512BW",),
    "avx512cd": ("AVX512CD",),
    "avx512dq": ("AVX512DQ",),
    "avx512er": ("AVX512ER",),
    "avx512f": ("AVX512F",),
    "avx512ifma": ("AVX512IFMA",),
    "avx512pf": ("AVX512PF",),
    "avx512vbmi": ("AVX512VBMI",),
    "avx512vl": ("AVX512VL",),
    "bmi1": ("BMI",),
    "bmi2": ("BMI2",),
    "f16c": ("F16C",),
    "fma": ("FMA3",),
    "fma4": ("FMA4",),
    "mmx": ("MMX",),
    "mpx": ("MPX",),
    "pclmulqdq": ("CLMUL",),
    "pdpe1gb": ("PDPE1GB",),
    "pni": ("SSE3",),
    "rtm": ("TSX",),
    "sev": ("AMD_SEV",),
    "sev_es": ("AMD_SEV_ES",),
    "sev_snp": ("AMD_SEV_SNP",),
    "sgx": ("SGX",),
    "sha_ni": ("SHA",),
    "sse": ("SSE",),
    "sse2": ("SSE2",),
    "sse4_1": ("SSE41",),
    "sse4_2": ("SSE42",),
    "sse4a": ("SSE4A",),
    "ssse3": ("SSSE3",),
    "stibp": ("STIBP",),
    "svm": ("SVM", "AMD_SVM"),
    "tbm": ("TBM",),
    "vmx": ("VMX", "INTEL_VMX"),
    "xop": ("XOP",),
}
"""Traits ``HW_CPU_X86_...`` by the flag of /proc/cpuinfo."""

X86_FLAGS_OF_512_BITS: Final[Mapping[str, str]] = {
    "gfni": "AVX512GFNI",
    "vaes": "AVX512VAES",
    "vpclmulqdq": "AVX512VPCLMULQDQ",
}
"""Traits that name AVX-512, by flags that processors without AVX-512 have too."""


@valueclass(frozen=True, slots=True)
class Processors:
    """Numbers of the processors, as Linux counts them: one for each hardware thread.

    ``isolated`` are those on which the kernel places no process by itself.
    """

    online: frozenset[int]
    isolated: frozenset[int]
    model: str
    traits: frozenset[str]


def processors(files: Files) -> Processors:
    """What the files tell about processors. Without any source, none are online."""
    blocks = _blocks(files)
    online = _listed(files, ONLINE, f"processors are counted in {CPUINFO}, which may leave out those offline")
    if online is None:
        online = frozenset(int(each["processor"]) for each in blocks if each.get("processor", "").isdecimal())
    isolated = _listed(files, ISOLATED, "isolated processors (PCPU) are not told from others")
    first = blocks[0] if blocks else {}
    traits = _traits(blocks)
    if blocks and not traits:
        files.note(f"{CPUINFO} has no features that this command knows: the host has no traits of processors")
    if files.content(THREADS) == "1":
        traits |= {"HW_CPU_HYPERTHREADING"}
    standard = frozenset(os_traits.get_traits())
    model = first.get("model name") or first.get("cpu") or ""
    return Processors(online, (isolated or frozenset()) & online, model, frozenset(traits & standard))


def _blocks(files: Files) -> list[dict[str, str]]:
    """The description of each processor. Lines about the whole board come last in some files."""
    text = files.content(CPUINFO, "the host has no traits of processors") or ""
    found = [fields(block) for block in text.split("\n\n")]
    return [each for each in found if "processor" in each]


def _listed(files: Files, path: str, lacking: str) -> frozenset[int] | None:
    text = files.content(path, lacking)
    if text is None:
        return None
    try:
        return numbers_in(text)
    except ValueError as error:
        files.note(f"{path} is not understood ({error}): {lacking}")
        return None


def _traits(blocks: list[dict[str, str]]) -> set[str]:
    """Traits that all processors have, since a workload may run on any of them."""
    each = [_traits_of(block) for block in blocks]
    return set.intersection(*each) if each else set()


def _traits_of(block: Mapping[str, str]) -> set[str]:
    if "flags" in block:
        return _x86(set(block["flags"].split()))
    if "Features" in block:
        features = block["Features"].split()
        if block.get("CPU architecture", "").partition(" ")[0] in ("8", "AArch64"):
            return {"HW_ARCH_AARCH64", *(f"HW_CPU_AARCH64_{name.upper()}" for name in features)}
        return {f"HW_ARCH_ARMV{block.get('CPU architecture', '')[:1]}"}
    model = block.get("cpu", "").upper()
    return {f"HW_CPU_PPC64LE_{name}" for name in ("POWER8", "POWER9") if model.startswith(name)}


def _x86(flags: set[str]) -> set[str]:
    names = {name for flag in flags for name in X86_FLAGS.get(flag, ())}
    if "avx512f" in flags:
        names |= {name for flag, name in X86_FLAGS_OF_512_BITS.items() if flag in flags}
    architecture = "X86_64" if "lm" in flags else "I686"
    return {f"HW_ARCH_{architecture}", *(f"HW_CPU_X86_{name}" for name in names)}
