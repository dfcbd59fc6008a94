"""A picture goes in over gRPC and ranked items come out: real client, real Triton, real models."""

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from visrec_client import IncompatibleServer, InvalidImage, InvalidRequest, Recommender
from visrec_client.picture import load_picture
from visrec_training.checkpoint import Checkpoint
from visrec_training.examples import pad_histories
from visrec_training.retrieval import Typed

TEXTS = ("red", "face", "blue circle", "happy cat", "unheard-of-word")


@pytest.fixture(scope="module")
def checkpoint(run):
    return Checkpoint.load(run / "best.pt")


def test_the_served_answer_is_pytorchs(recommender, checkpoint, items):
    """200 random requests, all combinations of modalities: the same top 10, scores within 1e-4."""
    model = checkpoint.model()
    scorer = checkpoint.fusion_scorer(model)
    config, ids = checkpoint.model_config, checkpoint.item_ids
    rng = np.random.default_rng(0)
    for number in range(200):
        picture = items[rng.choice(ids)].picture if number & 1 else None
        history = rng.choice(len(ids), size=rng.integers(1, 60)) if number & 2 else np.zeros(0, np.int64)
        text = TEXTS[rng.integers(len(TEXTS))] if number & 4 else ""
        answer = recommender.recommend(
            image=picture, history=[ids[row] for row in history], text=text, exclude_history=False
        )
        with torch.inference_mode():
            if picture is None:
                aspects = torch.zeros(1, config.aspects, config.aspect_dim)
                maps = torch.zeros(1, config.aspects, 49)
            else:
                aspects, maps = model.attention(model.encoder(torch.from_numpy(load_picture(picture))[None]))
            rows = torch.from_numpy(pad_histories([history], config.history))
            typed = Typed.read([text], checkpoint.vocabulary, config)
            expected, scores, attention = scorer(aspects, maps, rows, *typed.tensors())
        assert [item.item_id for item in answer.items] == [ids[row] for row in expected[0, :10]]
        assert [item.score for item in answer.items] == pytest.approx(scores[0, :10].tolist(), abs=1e-4)
        if picture is None:
            assert answer.attention is None
        else:
            assert answer.attention == pytest.approx(attention[0].numpy(), abs=1e-4)


def test_attention_is_a_distribution_over_the_picture(recommender, items):
    answer = recommender.recommend(image=next(iter(items.values())).picture)
    assert answer.attention.shape == (7, 7)
    assert answer.attention.sum() == pytest.approx(1, abs=1e-4)


def test_one_picture_in_any_form_gives_one_answer(recommender, items):
    path = next(iter(items.values())).picture
    with Image.open(path) as opened:
        forms = [path, str(path), path.read_bytes(), opened.convert("RGB"), np.asarray(opened.convert("RGB"))]
        answers = [[item.item_id for item in recommender.recommend(image=form).items] for form in forms]
    assert all(answer == answers[0] for answer in answers)


def test_a_photograph_of_a_phone_is_answered(recommender):
    pixels = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    assert len(recommender.recommend(image=file.getvalue()).items) == 10


def test_excluded_items_and_the_history_stay_away(recommender, items):
    history = list(items)[:5]
    first = recommender.recommend(history=history).items
    assert not {item.item_id for item in first} & set(history)
    barred = [item.item_id for item in first[:3]]
    again = recommender.recommend(history=history, exclude=barred).items
    assert again[0].item_id == first[3].item_id


def test_a_new_visitor_gets_an_answer(recommender):
    assert len(recommender.recommend().items) == 10


def test_what_is_not_understood_is_ignored_and_told(recommender):
    plain = recommender.recommend()
    unknown = recommender.recommend(history=["no such item"], text="\U00013000\U00013001")
    assert unknown.items == plain.items
    assert (unknown.understood, unknown.is_popular) == (0, True)
    partly = recommender.recommend(text="red \U00013000")
    assert 0 < partly.understood < 1
    assert not partly.is_popular


def test_words_find_titles(recommender, items):
    named = {item_id for item_id, item in items.items() if "face" in item.title.split()}
    found = recommender.recommend(text="face").items
    assert len(named) > 5
    assert sum(item.item_id in named for item in found) >= 5


def test_requests_that_meet_are_answered_each_for_itself(recommender, server, items):
    """Sixteen threads, batched by the server: no answer strays to another caller."""
    chosen = list(items.values())[:16]
    alone = [recommender.recommend(image=item.picture) for item in chosen]
    together = [None] * len(chosen)

    def ask(place):
        together[place] = recommender.recommend(image=chosen[place].picture)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(chosen))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert [item.item_id for item in one.items] == [item.item_id for item in other.items]


def test_pictures_are_embedded(recommender, items):
    aspects, maps = recommender.embed(next(iter(items.values())).picture)
    assert aspects.shape == (8, 64)
    assert maps.sum(axis=-1) == pytest.approx(np.ones(8), abs=1e-4)


def test_a_broken_picture_is_refused_before_it_is_sent(recommender):
    with pytest.raises(InvalidImage):
        recommender.recommend(image=b"not a picture")


def test_more_than_the_server_ranks_is_refused(recommender):
    with pytest.raises(InvalidRequest, match=r"101.*100"):
        recommender.recommend(k=101)


def test_a_server_without_the_models_is_told_apart(repository, tmp_path):
    from visrec_serving import Server, ServerConfig

    config = ServerConfig(
        repository=repository, models=("encoder",), grpc_port=0, http_port=0, metrics_port=0
    )
    with (
        Server(config) as server,
        Recommender(server.grpc_url, timeout=10) as recommender,
        pytest.raises(IncompatibleServer),
    ):
        recommender.recommend()


def test_the_command_line_asks_too(server, items, visrec, capsys):
    path = next(iter(items.values())).picture
    assert visrec("recommend", "--url", server.grpc_url, "--image", path, "--k", 3) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 4
