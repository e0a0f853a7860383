"""What a sum that nobody sees into cannot be made of, and noise that clients share."""

from bract.settings.methods import METHODS, Method, method_of
from bract.settings.schema import Settings


def unsummed(settings: Settings) -> list[str]:
    """Why a run cannot be one whose server sees sums alone, where its settings ask for one; each with its reason."""
    shared = settings.privacy.noise == "shared" and settings.privacy.unit != "none"
    if settings.federation.sum == "plain":
        if shared:
            return ["privacy.noise = 'shared': only their sum protects each client; set federation.sum = secure"]
        return []
    return [*_of_method(settings), *_of_sum(settings, shared=shared), *(_of_noise(settings) if shared else [])]


def _of_method(settings: Settings) -> list[str]:
    """A method whose rounds are no sums of parts that all clients have alike."""
    strategy, method, found = settings.strategy, method_of(settings.strategy.name), []
    if why := method.no_secure_sum or _score(settings, method):
        alike = ", ".join(sorted(one.name for one in METHODS if not one.no_secure_sum))
        found.append(
            f"strategy.name = {method.name!r}: {why}; with federation.sum = {settings.federation.sum} take one of "
            f"{alike}"
        )
    if (ranks := settings.federation.ranks) != "auto" and not ranks[0].isdigit():
        found.append(
            f"federation.ranks = {ranks!r}: who sends other slots than the others is told apart in a sum; give all "
            "clients the same"
        )
    if strategy.local_b == "passed":
        found.append("strategy.local-b = 'passed': hands on one client's B, and a secure sum shows none")
    if strategy.divide == "selected":
        found.append("strategy.divide = 'selected': divides by what each client chose; a secure sum divides by all")
    if strategy.weights == "norm":
        found.append("strategy.weights = 'norm': weighs by what each client sent, which nobody sees in a secure sum")
    return found


def _score(settings: Settings, method: Method) -> str:
    """Why a method's choices would tell of single clients; nothing where they do not."""
    score = settings.strategy.score
    if "score" not in method.options or score == "released":
        return ""
    return f"strategy.score = {score!r} tells each client's choice, and strategy.score = released does not"


def _of_sum(settings: Settings, *, shared: bool) -> list[str]:
    """What the server would have to see of single clients."""
    federation, found = settings.federation, []
    by_coin = shared and settings.privacy.unit == "client"
    if federation.fraction < 1 and not by_coin:
        found.append(
            f"federation.fraction = {federation.fraction:g}: all members of a secure sum take part; set it to 1"
        )
    if settings.privacy.unit == "client" and not shared:
        found.append(
            f"federation.sum = {federation.sum!r}: a server that sees sums alone cannot clip each client's update; set "
            "privacy.noise = shared, or federation.sum = plain"
        )
    if settings.privacy.share_metrics:
        found.append("privacy.share-metrics = true: tells one client's figures, which a secure sum is there to hide")
    if settings.wire.codec == "int8" or (settings.wire.codec == "float16" and not shared):
        found.append(
            f"wire.codec = {settings.wire.codec!r}: whole numbers are added in a secure sum; leave it float32, or, "
            "where noise is shared, float16 for words of 16 bits"
        )
    if federation.sum == "unmasked" and settings.data.source == "node":
        found.append("federation.sum = 'unmasked': is for simulations; nodes with own data send nothing unmasked")
    return found


def _of_noise(settings: Settings) -> list[str]:
    """What shared noise would not protect."""
    privacy, steps = settings.privacy, settings.train.steps
    found = []
    if privacy.joins:
        found.append(f"privacy.joins = {privacy.joins}: all members of a secure sum join all rounds")
    if privacy.clip_groups != "all":
        found.append(f"privacy.clip-groups = {privacy.clip_groups!r}: one clip bounds what goes into a sum")
    if not privacy.by_clients:
        return found
    if steps != 1:
        found.append(
            f"train.steps = {steps}: where noise is shared a client takes one step a round, as a second one would "
            "start from a point that its own share of the noise alone protects; set it to 1"
        )
    if method_of(settings.strategy.name).keeps_b or settings.lora.head == "local":
        found.append(
            "privacy.noise = 'shared': what stays with a client is trained under no noise of others; take "
            "privacy.unit = client, or let it travel"
        )
    return found
