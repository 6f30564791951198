// SPDX-License-Identifier: Apache-2.0
//
// Every reader sees each beat until it has taken it, and no beat twice.

`default_nettype none

module axis_fork_formal #(
    parameter WIDTH   = 1,
    parameter READERS = 2
) (
    input wire               clk,
    input wire               rst,
    input wire [WIDTH-1:0]   s_axis_tdata,
    input wire               s_axis_tlast,
    input wire               s_axis_tvalid,
    input wire [READERS-1:0] m_axis_tready
);

    wire                     s_axis_tready;
    wire [WIDTH*READERS-1:0] m_axis_tdata;
    wire [READERS-1:0]       m_axis_tlast, m_axis_tvalid;
    reg  [READERS-1:0]       served = 0;  // readers that have taken the beat on the input
    wire [READERS-1:0]       takes = m_axis_tvalid & m_axis_tready;

    axis_fork #(
        .WIDTH(WIDTH), .READERS(READERS)
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tlast(s_axis_tlast), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready)
    );

    axis_rules #(.WIDTH(WIDTH + 1), .ASSUME(1)) source (
        .clk(clk), .rst(rst), .payload({s_axis_tlast, s_axis_tdata}), .tvalid(s_axis_tvalid),
        .tready(s_axis_tready)
    );

    always @(posedge clk) begin
        if (s_axis_tvalid)
            served <= s_axis_tready ? 0 : served | takes;
        if (rst)
            served <= 0;
    end

    // The beat leaves the input in the clock in which the last reader takes it.
    always @* if (s_axis_tvalid) assert (s_axis_tready == &(served | takes));

    genvar i;
    generate
        for (i = 0; i < READERS; i = i + 1) begin : gen_reader
            axis_rules #(.WIDTH(WIDTH + 1)) rules (
                .clk(clk), .rst(rst), .payload({m_axis_tlast[i], m_axis_tdata[WIDTH*i +: WIDTH]}),
                .tvalid(m_axis_tvalid[i]), .tready(m_axis_tready[i])
            );
            always @* begin
                assert (m_axis_tvalid[i] == (s_axis_tvalid && !served[i]));
                if (m_axis_tvalid[i])
                    assert ({m_axis_tlast[i], m_axis_tdata[WIDTH*i +: WIDTH]}
                            == {s_axis_tlast, s_axis_tdata});
            end
        end
    endgenerate

endmodule

`default_nettype wire
