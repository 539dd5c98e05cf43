"""The slow twin with leases: which claims hang on which. No time passes: a lease ends by a command only."""

from __future__ import annotations

from typing import Any, TypeVar

from moorage.model import commands, errors
from moorage.model.commands import Command
from tests.oracle.account import Account

ResultT = TypeVar("ResultT")

ABOUT_LEASES = (commands.GrantLease, commands.AttachClaim, commands.DetachClaim, commands.EndLease)


class LeasedTwin(Account):
    """An account with leases. ``running`` says of each whether it is active.

    ``attached``: the lease that a consumer's claim hangs on, and the project that the claim belongs to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[str, bool] = {}
        self.attached: dict[str, tuple[str, str]] = {}

    def execute(self, command: Command[ResultT]) -> ResultT:
        """See ``Account.execute``. The result of a command about leases is None."""
        before = dict(self.running), dict(self.attached)
        try:
            return super().execute(command)
        except errors.MoorageError:
            self.running, self.attached = before
            raise

    def _carry_out(self, command: Any) -> Any:
        if isinstance(command, ABOUT_LEASES):
            return self._about_leases(command)
        result = super()._carry_out(command)
        # What holds nothing any more, or comes to another project, hangs on no lease.
        for consumer, (_, project) in list(self.attached.items()):
            holder = self.holders.get(consumer)
            if holder is None or holder.project_id != project:
                del self.attached[consumer]
        return result

    def _about_leases(self, command: Any) -> None:
        if isinstance(command, commands.GrantLease):
            if command.uuid in self.running:
                raise errors.EqualNameError
            self.running[command.uuid] = True
            return
        lease = command.uuid if isinstance(command, commands.EndLease) else command.lease
        if lease not in self.running:
            raise errors.LeaseNotFoundError(lease)
        if isinstance(command, commands.AttachClaim) and command.consumer not in self.holders:
            raise errors.AllocationsNotFoundError(command.consumer)
        if not self.running[lease]:
            raise errors.LeaseGoneError(lease, "released")
        if isinstance(command, commands.EndLease):
            assert command.keeps_claims, "nothing takes the claims away afterwards"
            self.running[lease] = False
            self.attached = {each: of for each, of in self.attached.items() if of[0] != lease}
        elif isinstance(command, commands.AttachClaim):
            self.attached[command.consumer] = lease, self.holders[command.consumer].project_id
        elif self.attached.get(command.consumer, ("", ""))[0] != lease:
            raise errors.AttachmentNotFoundError(lease, command.consumer)
        else:
            del self.attached[command.consumer]
