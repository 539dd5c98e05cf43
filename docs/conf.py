"""How Sphinx builds these pages into a site: ``make docs``."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def version_of_the_package() -> str:
    """The version as the package's source states it, so that the package need not be installed."""
    source = (ROOT / "src" / "moorage" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    assert found is not None
    return found[1]


def repository() -> str:
    """The address of the repository's pages, or an empty text if there is none.

    ``DOCS_REPOSITORY`` names it. Otherwise it is the remote that the checkout was cloned from, if a browser
    can open that.
    """
    named = os.environ.get("DOCS_REPOSITORY")
    if named is None:
        command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
        try:
            listed = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            return ""
        named = listed.stdout.strip()
    address = (
        re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", named).removesuffix("/").removesuffix(".git")
    )
    return address if address.startswith("https://") else ""


project = "Moorage"
author = "the Moorage contributors"
project_copyright = author
version = release = version_of_the_package()

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns: list[str] = []
templates_path = ["_templates"]

myst_heading_anchors = 4

html_theme = "pydata_sphinx_theme"
html_title = "Moorage"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["moorage.css"]
html_show_sourcelink = False
# A page without others beside it has no list of them.
html_sidebars: dict[str, list[str]] = {"faq": [], "index": []}
html_copy_source = False
html_use_index = False
html_domain_indices = False

REPOSITORY = repository()

html_context: dict[str, Any] = {
    "default_mode": "auto",
    "repository": REPOSITORY,
    "edit_page_url_template": f"{REPOSITORY}/edit/{{{{ branch }}}}/docs/{{{{ file_name }}}}",
    "edit_page_provider_name": "",
    "branch": os.environ.get("DOCS_BRANCH", "main"),
}

html_theme_options: dict[str, Any] = {
    "logo": {"text": "Moorage", "alt_text": "Moorage"},
    "use_edit_page_button": bool(REPOSITORY),
    "header_links_before_dropdown": 7,
    "navbar_end": ["version-link", "theme-switcher"],
    "secondary_sidebar_items": ["page-toc", "edit-this-page"],
    "footer_start": ["version-footer"],
    "footer_end": [],
    "show_toc_level": 2,
    "search_as_you_type": True,
    "search_bar_text": "Search",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
