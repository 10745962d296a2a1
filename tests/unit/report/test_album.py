from __future__ import annotations

import cv2
import numpy as np
import pytest

from multibox.evaluate.record import RecordedEvaluation, RecordedModel
from multibox.report import album
from multibox.report.album import Album, ImageScore, choose_images, image_scores
from multibox.report.figures import figures_of
from tests.report_case import SIDE, dataset, found, record

BOX, OTHER, EMPTY = [10, 10, 60, 60], [100, 100, 160, 160], [150, 10, 190, 50]


def figures_of_images(*pairs, paths=None):
    records = [
        record(objects, path=paths[n] if paths else record([]).path, crowds=crowds)
        for n, (objects, _, crowds) in enumerate(pairs)
    ]
    detections = tuple(found(boxes, [0.9] * len(boxes)) for _, boxes, _ in pairs)
    model = RecordedModel(file="best.pth", sha256="0")
    return figures_of(RecordedEvaluation(records[0].path, model, dataset(*records), detections, 100, {}))


def score(image, *, objects, shown, right):
    return ImageScore(
        image, tuple(range(objects)), tuple(range(shown)), frozenset(range(right)), frozenset(range(right))
    )


def test_each_image_is_scored_by_what_it_shows_at_the_threshold():
    scores = image_scores(
        figures_of_images(
            ([BOX, OTHER], [BOX, EMPTY], None),  # one of two found, one box of two wrong: 2 * 1 / (2 + 2)
            ([BOX], [BOX], None),
            ([BOX], [OTHER], None),
            ([BOX], [BOX], [True]),  # a box in a crowd counts neither for nor against
        )
    )
    assert [one.f1 for one in scores] == [0.5, 1, 0, 1]
    assert [one.words for one in scores] == [
        "1 of 2 objects found, 1 wrong box",
        "1 of 1 object found, no wrong box",
        "0 of 1 object found, 1 wrong box",
        "0 of 0 objects found, no wrong box",
    ]


def test_two_of_the_best_of_the_median_and_of_the_worst_are_chosen():
    scores = [score(n, objects=8, shown=8, right=right) for n, right in enumerate((8, 1, 4, 0, 7, 3, 5, 2))]
    scores.append(score(8, objects=0, shown=0, right=0))  # nothing there and nothing shown: it tells nothing
    chosen = [(kind, one.image) for kind, one in choose_images(scores)]
    assert chosen == [("Best", 0), ("Best", 4), ("Median", 2), ("Median", 5), ("Worst", 1), ("Worst", 3)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_of_few_images_none_is_chosen_twice(count):
    chosen = choose_images([score(n, objects=4, shown=4, right=n % 5) for n in range(count)])
    assert len({one.image for _, one in chosen}) == len(chosen) == count


def test_scenes_have_the_chosen_first_then_those_that_were_read(tmp_path):
    paths = []
    for n in range(8):
        paths.append(tmp_path / f"{n}.png")
        cv2.imwrite(str(paths[-1]), np.full((SIDE, SIDE, 3), 20 * n, np.uint8))
    figures = figures_of_images(*[([BOX, OTHER], [BOX], None)] * 8, paths=paths)
    one = Album(figures)
    assert one.read(7) is not None
    scores = image_scores(figures)
    scenes = one.scenes([("Best", scores[3])], scores)
    assert [(scene.image, scene.kind) for scene in scenes] == [(3, "Best"), (7, None)]
    truth, hit = scenes[0].truth, scenes[0].found
    assert [(box.row, box.is_right) for box in truth] == [(0, True), (1, False)]
    assert [(box.x, box.y, box.width, box.height, box.text) for box in hit] == [(10, 10, 50, 50, "a 0.90")]


def test_images_become_smaller_until_all_are_within_the_budget(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    paths = []
    for n in range(3):
        paths.append(tmp_path / f"{n}.png")
        cv2.imwrite(str(paths[-1]), rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    figures = figures_of_images(*[([BOX], [BOX], None)] * 3, paths=paths)
    scores = image_scores(figures)
    monkeypatch.setattr(album, "SIDES_PX", (200, 100, 50))

    def sides(budget):
        monkeypatch.setattr(album, "MAX_BYTES", budget)
        one = Album(figures)
        for n in range(3):
            one.read(n)
        scenes = one.scenes([], scores)
        assert sum(len(scene.address) for scene in scenes) <= budget
        return [scene.width for scene in scenes]

    assert sides(10**6) == [200] * 3
    full = sum(len(album.jpeg_address(cv2.imread(str(path)), album.QUALITY)[0]) for path in paths)
    assert sides(full - 1) == [100] * 3
    assert sides(1) == []
