"""How alike the content of items is, from their words, what these mean, pictures and categories."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from visrec_training.content import RECIPES, Content, Recipe

ALL = torch.arange(6)


def content(seed):
    draw = torch.Generator().manual_seed(seed)
    words = sparse.csr_array(torch.rand(6, 5, generator=draw).round().numpy())
    sentences = torch.nn.functional.normalize(torch.randn(6, 4, generator=draw), dim=1)
    sentences[0] = 0  # no text
    categories = ("a", "a", "b", "b", "", "")
    return Content.of(words, sentences, sentences, torch.randn(6, 3, generator=draw), categories)


@given(st.integers(0, 1_000), st.sampled_from(RECIPES))
def test_every_recipe_is_a_kernel(seed, recipe):
    kernel = content(seed).kernel(ALL, ALL, recipe)
    torch.testing.assert_close(kernel, kernel.T)
    assert torch.linalg.eigvalsh(kernel).min() > -1e-6


def test_near_sentences_count_far_more_than_others():
    turned = torch.tensor([0.0, 0.3, 1.5])
    sentences = torch.stack([turned.cos(), turned.sin()], dim=1)
    nothing = torch.zeros(3, 1)
    bare = Content(sparse.csr_array(nothing.numpy()), nothing, sentences, nothing, nothing)
    alike = bare.kernel(torch.arange(3), torch.arange(3), Recipe(0, 0, 0, sentences=1.0))[0]
    assert alike[0] == 1
    assert alike[1] > 0.8
    assert alike[2] < 0.1
