"""Every source conforms, in every format that it reads."""

from __future__ import annotations

from tests.conformance import formats
from tests.conformance.sources import GzipMemberSuite, SourceSuite


class TestWarc(SourceSuite):
    format = formats.WARC


class TestWarcGz(GzipMemberSuite):
    format = formats.WARC_GZ


class TestArc(SourceSuite):
    format = formats.ARC


class TestArcGz(GzipMemberSuite):
    format = formats.ARC_GZ


class TestWat(SourceSuite):
    format = formats.WAT


class TestWatGz(GzipMemberSuite):
    format = formats.WAT_GZ


class TestParquet(SourceSuite):
    format = formats.PARQUET


class TestCsv(SourceSuite):
    format = formats.CSV


class TestCsvGz(SourceSuite):
    format = formats.CSV_GZ


class TestTsv(SourceSuite):
    format = formats.TSV


class TestTsvZst(SourceSuite):
    format = formats.TSV_ZST


class TestTxt(SourceSuite):
    format = formats.TXT


class TestJsonLines(SourceSuite):
    format = formats.JSON_LINES


class TestJsonLinesBz2(SourceSuite):
    format = formats.JSON_LINES_BZ2


class TestRedCaps(SourceSuite):
    format = formats.REDCAPS


class TestTar(SourceSuite):
    format = formats.TAR


class TestTarGz(SourceSuite):
    format = formats.TAR_GZ


class TestImg2dataset(SourceSuite):
    format = formats.IMG2DATASET
