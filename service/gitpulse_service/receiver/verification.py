"""Who may deliver: signature and token checks, sans-IO."""
