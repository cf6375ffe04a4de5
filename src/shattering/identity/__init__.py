"""What identifies a thing: files by their content, and everything that a user can pass by its values and the code that would run.

- `files`: digests of files and folders, looked at once in a call.
- `digest`: of any object. `walk` goes from it to all that it reaches; `objects`, `values` and `code` say what each thing consists of;
  `installed` tells the user's own code from that of installed distributions.
"""
