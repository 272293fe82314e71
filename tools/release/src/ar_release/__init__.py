"""Release one package of the workspace: check, bump, tag, plan. Nothing of it is released itself."""
