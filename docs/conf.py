"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generator.python_names import as_restructured, public_modules, public_reference  # noqa: E402

project = "qdpem"
author = "the qdpem authors"
project_copyright = "the qdpem authors, MIT licence"
release = version = installed_version("qdpem")

extensions = ["myst_nb", "autoapi.extension", "sphinx_copybutton"]
exclude_patterns = ["Thumbs.db", ".*"]
nitpicky = True
# Signatures name types of other packages and of private modules, which have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]

# autoapi reads the code without importing it; it need not resolve what only private modules share.
suppress_warnings = ["autoapi.python_import_resolution"]
autoapi_dirs = public_modules(HERE.parent, HERE.parent / "build" / "public_modules")
autoapi_generate_api_docs = False
add_module_names = False
autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"qdpem {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "fieldlist", "deflist"]
myst_heading_anchors = 4
# Notebooks run at each build, in the kernel of this environment; no widget is used, so none is fetched.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_ipywidgets_js = {}
nb_number_source_lines = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    """Docstrings are written in Markdown, and signatures name classes by the modules they come from."""
    app.connect("autodoc-process-docstring", as_restructured)
    app.connect("missing-reference", public_reference)
