"""Where HailoRT's packages can be had without a login, and the checksums that are known.

The server is the vendor's own public one; its installation scripts fetch from there (2026). It speaks plain http and
its files are not signed, so what arrives is examined, compared with a checksum where one is published, and otherwise
shown to the owner. It was never asked by this project's tests. Its address is the default of HAILORT_SOURCE.
"""

SOURCE_VERSION = "4.23.0"
"""What the folder of that address is for. Whether other versions lie there is not known."""

MD5 = {
    "hailort_4.23.0_arm64.deb": "212575df93456a40befd9238ac92b4e1",
    "hailort-4.23.0-cp312-cp312-linux_aarch64.whl": "a66552e308c1123616cbdb4fd69e5485",
}
"""Published for the files of the Developer Zone; of the others no sum is published."""
