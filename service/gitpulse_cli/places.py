"""Where commands find resources: a cluster, by the kubeconfig, or YAML files, beside which their state is kept."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import inspect
import os
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from gitpulse_cli.errors import CommandError, WrongInput
from gitpulse_cli.inputs import text_of
from gitpulse_cli.output import console
from gitpulse_operator.errors import ClusterUnavailable, NoKubernetes, NotAllowed
from gitpulse_operator.reconcile.resource import Ref, Resource, mapping

if TYPE_CHECKING:
    from gitpulse_operator.adapters.kube import KubeCluster
    from gitpulse_operator.adapters.manifests import FolderCluster
    from gitpulse_operator.reconcile.ports import GitLab

P = ParamSpec("P")

Folder = typer.Option("--file", "-f", help="YAML file or folder of resources, in the place of Kubernetes.", exists=True)
State = Annotated[
    Path | None, typer.Option(help="Folder for what is kept; else `.gitpulse` beside the files.", file_okay=False)
]
SecretFiles = Annotated[
    Path | None,
    typer.Option(
        "--secrets",
        help="Folder of files, each a Secret of its name with the key `token`; so no token need be in YAML.",
        exists=True,
        file_okay=False,
    ),
]
OPTIONS: Mapping[str, object] = {
    "namespace": Annotated[
        str, typer.Option("--namespace", "-n", help="This one alone; names without one are in it too.", metavar="NAME")
    ],
    "context": Annotated[
        str, typer.Option("--context", help="Of the kubeconfig, in the place of the current one.", metavar="NAME")
    ],
    "folder": Annotated[Path | None, Folder],
    "state": State,
    "secrets": SecretFiles,
}
SHOWN = 5
"""Names in a message, at most."""
GITLAB_TIMEOUT = 20.0
"""Seconds that one request may take."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a person has said of where resources are.

    An empty `namespace` means all, or in the operator's own environment those that it watches.
    """

    namespace: str = ""
    context: str = ""
    folder: Path | None = None
    state: Path | None = None
    secrets: Path | None = None

    @contextlib.asynccontextmanager
    async def opened(self, selector: str = "") -> AsyncIterator[View]:
        """The resources there, until the block ends. Raises NoKubernetes, ManifestInvalid.

        Of projects in a cluster those alone whose labels match the `selector`.
        """
        if (self.state or self.secrets) and not self.folder:
            raise WrongInput("--state and --secrets go with -f, the resources in files")
        if self.folder:
            yield self._files(self.folder)
            return
        from gitpulse_operator.adapters.kube import KubeCluster

        watched = os.environ.get("GITPULSE_WATCH_NAMESPACES", "")
        namespaces = [self.namespace] if self.namespace else [it.strip() for it in watched.split(",") if it.strip()]
        try:
            kube = await KubeCluster.connect(context=self.context, namespaces=namespaces, selector=selector)
        except NoKubernetes as error:
            raise NoKubernetes(f"{error}; without Kubernetes, name a folder of resources: -f DIR") from None
        try:
            yield View(lambda: kube, namespaces, self.namespace or kube.namespace)
        except ClusterUnavailable as error:
            narrower = isinstance(error, NotAllowed) and not namespaces
            hint = "; if you may see one namespace alone, name it: -n NAME" if narrower else ""
            raise CommandError(f"{kube.host}: {error}{hint}") from None
        finally:
            await kube.close()

    def _files(self, folder: Path) -> View:
        from gitpulse_operator.adapters.manifests import FolderCluster, state_of

        kept = self.state or state_of(folder).parent
        read = functools.partial(FolderCluster, [folder], kept / "state.json", secrets=self.secrets)
        try:
            _take_settings(kept / "env")
            read()
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        only = [self.namespace] if self.namespace else []
        return View(read, only, self.namespace or "default")


class View:
    """Resources as they are whenever one asks."""

    def __init__(
        self, cluster: Callable[[], KubeCluster | FolderCluster], namespaces: Sequence[str], default: str
    ) -> None:
        self.cluster = cluster
        """A folder is read anew by each call."""
        self.namespaces = namespaces
        """The only ones that it shows; empty: all."""
        self._default = default

    async def all(self, *kinds: str) -> list[Resource]:
        """Those of these kinds, in this order, by their names."""
        found = []
        with console.status("Reading resources"):
            read = [await self.cluster().bodies(kind) for kind in kinds]
        for bodies in read:
            found += sorted(map(Resource.from_body, bodies), key=lambda it: (it.ref.namespace, it.ref.name))
        return [it for it in found if not self.namespaces or it.ref.namespace in self.namespaces]

    async def find(self, kind: str, name: str) -> Resource:
        """The one of this `name` or `namespace/name`. Raises WrongInput, naming those that are near."""
        namespace, _, own = name.rpartition("/")
        ref = Ref(kind, namespace or self._default, own)
        if body := await self.cluster().read(ref):
            return Resource.from_body(body)
        there = [it.ref for it in await self._others(kind)]
        near = {
            *difflib.get_close_matches(own, {it.name for it in there}),
            *(it.name for it in there if own in it.name),
        }
        names = sorted(f"{it.namespace}/{it.name}" for it in there)
        wanted = f"{ref.namespace}/{own}"
        if same := [it for it in names if it.partition("/")[2] in near]:
            raise WrongInput(f"there is no {kind} {wanted}; did you mean {' or '.join(same[:SHOWN])}?")
        some = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise WrongInput(f"there is no {kind} {wanted}; there {f'are {some}' if some else 'is none at all'}")

    async def again(self, resource: Resource) -> Resource:
        """The same as it is now. Raises CommandError where it is gone."""
        body = await self.cluster().read(resource.ref)
        if body is None:
            raise CommandError(f"{resource.ref} is gone")
        return Resource.from_body(body)

    @contextlib.contextmanager
    def gitlab(self) -> Iterator[Callable[[Resource], Coroutine[Any, Any, GitLab]]]:
        """Opens the GitLab of a project, with its connection's token, until the block ends."""
        from gitpulse_operator.adapters.gitlab import GitLabs
        from gitpulse_operator.reconcile.connections import OpenConnections

        gitlabs = GitLabs(timeout=GITLAB_TIMEOUT, threads=1)
        connections = OpenConnections(self.cluster(), gitlabs.connect)
        try:
            yield lambda it: connections.open(it.ref.namespace, connection_of(it))
        finally:
            gitlabs.close()

    async def _others(self, kind: str) -> list[Resource]:
        with contextlib.suppress(NotAllowed):  # who may read one may not list all
            return await self.all(kind)
        return []


def connection_of(project: Resource) -> str:
    """The name of its GitLabConnection; empty where the spec, which is then invalid, names none."""
    name = mapping(project.spec.get("connectionRef")).get("name")
    return name if isinstance(name, str) else ""


def name(resource: Resource) -> str:
    """As commands take it."""
    return f"{resource.ref.namespace}/{resource.ref.name}"


def placed(command: Callable[Concatenate[View, P], Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Makes a command of a coroutine that wants a View: it gets the options that say of what.

    What the coroutine returns is the exit code; None: 0.
    """

    @functools.wraps(command)
    async def viewing(place: Place, /, *args: P.args, **given: P.kwargs) -> int | None:
        async with place.opened() as view:
            return await command(view, *args, **given)

    return at_place(viewing)


def at_place(command: Callable[Concatenate[Place, P], Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """The same of a coroutine that wants the Place itself."""

    def run(*args: P.args, **given: P.kwargs) -> None:
        place = Place(**{name: given.pop(name) for name in OPTIONS})  # type: ignore[arg-type]
        raise typer.Exit(asyncio.run(command(place, *args, **given)) or 0)

    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(it, kind, default=getattr(Place(), it), annotation=OPTIONS[it]) for it in OPTIONS]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[1:], *more])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def _take_settings(file: Path) -> None:
    """What is written down of where Redis is, and the like, as a shell reads it; the environment goes before it."""
    if not file.exists():
        return
    try:
        settings = shlex.split(text_of(file), comments=True)
    except ValueError as error:
        raise WrongInput(f"{file}: {error}") from None
    for setting in settings:
        name, _, value = setting.partition("=")
        os.environ.setdefault(name, value)
