"""Digests: of files by their content, and of any object that a user can pass by its values and its code.

- `files`: digests of files and folders, which are read once per call.
- `digest`: the digest of any object. `walk` visits everything that the object reaches; `objects`, `values` and `code` describe each
  part; `installed` separates the user's own code from installed distributions.
"""
