"""headstart: transfer learning that proves its worth."""
