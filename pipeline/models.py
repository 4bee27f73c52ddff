"""`cupel models`: which models there are, which are here, and how their weights get here."""

from __future__ import annotations

from typing import Annotated

import typer

from ..operators.models.clip import tokenizer
from ..operators.models.weights import (
    SHIPPED,
    ModelError,
    architectures,
    cached_weights,
    checked_weights,
    fetch_weights,
    model_cache,
    model_config,
    model_folder,
    publisher,
)
from .catalogue import Page
from .told import JsonOpt, given, print_json, show_page, told

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Models for pair.clip_similarity and its kin: list them, fetch weights, see where they lie.

    Example: cupel models fetch ViT-B-32 openai
    """,
)

ModelArg = Annotated[str, typer.Argument(metavar="MODEL", callback=given, help="A model of open_clip's: ViT-B-32.")]
TagArg = Annotated[str, typer.Argument(metavar="PRETRAINED", callback=given, help="A tag of its weights: openai.")]


@app.command("list")
def list_models(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", callback=given, help="Show the tags of this model's weights.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """List the models that are shipped, fetched, or known to open_clip; with MODEL, the weights there are for it.

    Example: cupel models list ViT-B-32
    """
    with told():
        show_page(tags_page(model) if model else models_page(), as_json)


@app.command()
def fetch(model: ModelArg, pretrained: TagArg, as_json: JsonOpt = False) -> None:
    """Fetch a model's weights into $CUPEL_MODELS (default: ~/.cache/cupel/models), with their checksum.

    A tokenizer of its own (SigLIP's, multilingual ones) goes to the hub's cache, $HF_HOME.

    Example: cupel models fetch ViT-L-14 openai
    """
    with told():
        path = str(fetch_weights(model, pretrained))
        tokenizer(model)  # where it has one of its own (SigLIP, multilingual models), into the hub's cache
    print_json({"model": model, "pretrained": pretrained, "path": path}) if as_json else print(path)


@app.command()
def where(
    model: ModelArg,
    pretrained: Annotated[
        str, typer.Argument(metavar="PRETRAINED", help="A tag of its weights; none for a shipped model.")
    ] = "",
    as_json: JsonOpt = False,
) -> None:
    """Print where a model's weights lie on this machine, their checksum compared; exit code 2 where they do not.

    Example: cupel models where ViT-B-32 openai
    """
    with told():
        path = str(find(model, pretrained))
    print_json({"model": model, "pretrained": pretrained, "path": path}) if as_json else print(path)


def find(model: str, pretrained: str) -> object:
    """The folder or file of a model that is here. ModelError where it is not."""
    if (folder := model_folder(model)) is not None:
        return folder
    model_config(model)
    if cached_weights(model, pretrained) is None:
        place = model_cache() / model / (pretrained or "PRETRAINED")
        raise ModelError(f"{place} has no weights; fetch them: cupel models fetch {model} {pretrained or 'PRETRAINED'}")
    return checked_weights(model, pretrained)


def models_page() -> Page:
    """Every model, those that can be used at once first."""
    here = [
        {"model": path.parent.parent.name, "pretrained": path.parent.name}
        for path in sorted(model_cache().glob("*/*/SHA256SUMS"))
    ]
    entries = [{"model": name, "pretrained": "", "state": "shipped"} for name in SHIPPED]
    entries += [{**entry, "state": "fetched"} for entry in here]
    entries += [{"model": name, "pretrained": "", "state": "open_clip"} for name in architectures()]
    rows = [[entry["state"], entry["model"], entry["pretrained"]] for entry in entries]
    return Page(
        title=f"Models (weights in {model_cache()})", head=("state", "model", "pretrained"), rows=rows, json=entries
    )


def tags_page(model: str) -> Page:
    """The weights that are published for one model."""
    model_config(model)
    if model_folder(model):
        raise ModelError(f"{model} has its weights with it")
    import open_clip

    entries = []
    for tag in open_clip.list_pretrained_tags_by_model(model):
        published = open_clip.get_pretrained_cfg(model, tag)
        state = "fetched" if cached_weights(model, tag) else ""
        entries.append({"pretrained": tag, "state": state, "from": publisher(published)})
    rows = [[entry[key] for key in ("pretrained", "state", "from")] for entry in entries]
    return Page(title=f"Weights of {model}", head=("pretrained", "state", "from"), rows=rows, json=entries)
