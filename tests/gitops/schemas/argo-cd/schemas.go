// Package schemas names the published package of Argo CD whose kinds are made into CRDs.
package schemas

import _ "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
