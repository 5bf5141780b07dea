"""The command ``plots-page``: what ``dvc plots show`` needs to work without network."""

from pathlib import Path

import click

from stages.options import FILE, plain_errors

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  {refresh_tag}
  <title>USR-DU plots</title>
  <script>
    const waiting = [];
    var vegaEmbed = (...call) => waiting.push(call);
  </script>
  <style>body { font-family: sans-serif; margin: 1.5rem } img { max-width: 100% }</style>
</head>
<body>
  <h1>USR-DU plots</h1>
  {plot_divs}
  <script type="module">
  BUNDLE
  </script>
</body>
</html>
"""
"""A page of DVC whose plots wait for the bundle below them instead of a script from the network."""


@click.command("plots-page", epilog="Example: usrdu plots-page .dvc/plots_page.html")
@click.argument("page", type=FILE)
@plain_errors
def command(page: Path) -> None:
    """Write a page template with Vega in it, so that 'dvc plots show' works without network.

    'make setup' calls this and names the file in .dvc/config.local as plots.html_template.
    """
    import vl_convert

    bundle = vl_convert.javascript_bundle(
        "waiting.forEach(call => vegaEmbed(...call)); window.vegaEmbed = vegaEmbed;"
    )
    page.write_text(PAGE.replace("BUNDLE", bundle.replace("</script", "<\\/script")), "utf-8")
    click.echo(f"wrote {page}")
