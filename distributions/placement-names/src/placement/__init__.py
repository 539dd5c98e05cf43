"""The names of OpenStack Placement, which lead to Moorage here."""

from moorage.cli.placement_names import require_alone

require_alone()
