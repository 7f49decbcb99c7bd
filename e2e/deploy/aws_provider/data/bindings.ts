// https://registry.terraform.io/providers/hashicorp/aws/6.0.1/docs/resources/thing
export interface AwsThingConfig extends cdktn.TerraformMetaArguments {
  readonly name: string;
  /**
  * rule block
  */
  readonly rule?: AwsThing.RuleProperty[] | cdktn.IResolvable;
}
export class AwsThing extends cdktn.TerraformResource {
  public static readonly tfResourceType = "aws_thing";

  // name - computed: false, optional: false, required: true
  private _name?: string;
  public get name() {
    return this.getStringAttribute('name');
  }
  // ports - computed: true, optional: true, required: false
  private _ports?: number[];
  public get ports() {
    return cdktn.Token.asNumberList(cdktn.Fn.tolist(this.getNumberListAttribute('ports')));
  }
  // admin_password - computed: true, optional: false, required: false
  public get adminPassword() {
    return this.getStringAttribute('admin_password');
  }
  // rule - computed: false, optional: true, required: false
  private _rule = new AwsThing.RulePropertyList(this, "rule", true);
  public get rule() {
    return this._rule;
  }
  // records - computed: true, optional: false, required: false
  private _records = new AwsThing.RulePropertyList(this, "records", false);
  public get records() {
    return this._records;
  }

  protected synthesizeHclAttributes(): { [name: string]: any } {
    const attrs = {
      rule: {
        value: cdktn.listMapperHcl(awsThingRulePropertyToHclTerraform, true)(this._rule.internalValue),
        isBlock: true,
        type: "set",
        storageClassType: "AwsThing.RulePropertyList",
      },
    };
  }
}
export namespace AwsThing {
export interface RuleProperty {
  readonly action: string;
}
export class RulePropertyOutputReference extends cdktn.ComplexObject {
  // action - computed: false, optional: true, required: false
  private _action?: string;
  public get action() {
    return this.getStringAttribute('action');
  }
}
}
