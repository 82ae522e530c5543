"""The tables of the paper."""

from latte_cli.evaluation.results.paper import DATASETS, YOURS, dataset_of, paper_table


def test_a_value_has_a_rank_in_the_papers_table():
    table = paper_table("fvd", "skytimelapse", 57.0)
    names = [name for name, _ in table.rows]
    assert names[:4] == ["Latte+IMG", "PVDM", YOURS, "Latte"], "42.67, 55.41, 57.0, 59.82"
    assert table.place == 3
    assert names[-2:] == ["VDT", "W.A.L.T"], "without a value for that data set"
    assert dict(table.rows)[YOURS] == (None, 57.0, None, None)
    assert dict(table.rows)["Latte"] == (34.00, 59.82, 477.97, 159.60)
    assert len(DATASETS) == 4


def test_a_higher_inception_score_is_better():
    assert paper_table("is", "ucf101", 80.0).place == 1
    assert paper_table("is", "ucf101", 50.0).place == 2
    assert paper_table("fid", "faceforensics", 3.0).place == 1


def test_there_is_no_table_if_the_paper_has_no_value():
    assert paper_table("fid", "ucf101", 1.0) is None
    assert paper_table("fvd", "shapes", 1.0) is None
    assert paper_table("direction", "ucf101", 1.0) is None


def test_the_data_set_is_that_of_the_preset_or_of_the_real_videos():
    assert dataset_of("ucf101", "data/faceforensics") == "ucf101"
    assert dataset_of("studies-base", "data/faceforensics") == "faceforensics"
    assert dataset_of("shapes", "videos") == ""
