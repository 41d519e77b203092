"""Who depends on what, kept up as resources come, change and go."""

from __future__ import annotations

from gitpulse_operator.inventory import Inventory
from gitpulse_operator.names import CONNECTION, PROJECT
from gitpulse_operator.reconcile.resource import Ref

GITLAB, WEBSITE, API = Ref(CONNECTION, "a", "gitlab"), Ref(PROJECT, "a", "website"), Ref(PROJECT, "a", "api")


def body(version: int, **spec):
    return {"metadata": {"resourceVersion": str(version)}, "spec": spec}


def stocked() -> Inventory:
    inventory = Inventory()
    inventory.put(GITLAB, body(1, tokenSecretRef={"name": "token"}))
    inventory.put(WEBSITE, body(2, connectionRef={"name": "gitlab"}))
    inventory.put(API, body(3, connectionRef={"name": "gitlab"}))
    inventory.put(Ref(PROJECT, "b", "website"), body(4, connectionRef={"name": "gitlab"}))
    return inventory


def test_a_connection_has_its_users_in_its_namespace():
    inventory = stocked()
    assert inventory.users_of_connection("a", "gitlab") == {WEBSITE, API}
    inventory.put(API, body(5, connectionRef={"name": "other"}))
    assert inventory.users_of_connection("a", "gitlab") == {WEBSITE}
    inventory.drop(WEBSITE)
    assert inventory.users_of_connection("a", "gitlab") == set()
    assert inventory.users_of_connection("c", "gitlab") == set()


def test_a_secret_has_the_connection_and_all_who_use_it():
    inventory = stocked()
    assert inventory.users_of_secret("a", "token") == {GITLAB, WEBSITE, API}
    assert inventory.users_of_secret("b", "token") == set()


def test_a_hooks_secret_has_its_project():
    assert stocked().users_of_secret("a", "gitpulse-website") == {WEBSITE}
    assert stocked().users_of_secret("a", "gitpulse-other") == set()
    assert stocked().users_of_secret("a", "website") == set()


def test_a_secret_that_is_brought_has_its_projects():
    inventory = stocked()
    inventory.put(API, body(5, connectionRef={"name": "gitlab"}, secret={"secretRef": {"name": "mine"}}))
    assert inventory.users_of_secret("a", "mine") == {API}
    inventory.put(API, body(6, connectionRef={"name": "gitlab"}))
    assert inventory.users_of_secret("a", "mine") == set()


def test_a_body_that_is_older_is_ignored():
    inventory = stocked()
    inventory.put(WEBSITE, newer := body(10, connectionRef={"name": "gitlab"}))
    inventory.put(WEBSITE, body(9, connectionRef={"name": "other"}))
    assert inventory.get(WEBSITE) is newer
    inventory.put(WEBSITE, body(10, connectionRef={"name": "gitlab"}))  # again, as a new watch shows it
    assert set(inventory.refs(PROJECT)) == {WEBSITE, API, Ref(PROJECT, "b", "website")}
